package manifest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/mcpgate/mcpgate/registry"
)

// decoder turns nodes into resources, led by the json tags of their types.
type decoder struct {
	*report
	docs []Document
	// seen says at which line a resource was defined.
	seen map[registry.Key]int
	// types remembers the fields of struct types.
	types map[reflect.Type][]field
	// lines are those of the document being read.
	lines map[string]int
}

type field struct {
	name string
	i    int
}

func newDecoder(r *report) *decoder {
	return &decoder{report: r, seen: make(map[registry.Key]int), types: make(map[reflect.Type][]field)}
}

// forget drops the documents from the n-th on.
func (d *decoder) forget(n int) {
	for _, doc := range d.docs[n:] {
		delete(d.seen, doc.Resource.Key())
	}
	d.docs = d.docs[:n]
}

// document reads one resource.
func (d *decoder) document(n *node) {
	if n.kind == unreadable {
		return
	}
	if n.kind != mapNode {
		d.addf(n.line, "", "expected a resource, which is a mapping with a kind, got %s", n.kind)
		return
	}
	kind, ok := d.kind(n)
	if !ok {
		return
	}
	r, err := registry.New(kind)
	if err != nil {
		d.addf(n.line, "kind", "%v", err)
		return
	}
	d.lines = make(map[string]int)
	d.structure(n, reflect.ValueOf(r).Elem(), "")
	if line, given := d.lines["name"]; !given {
		d.addf(n.line, "name", "is missing")
	} else if name, ok := member(n, "name"); ok && name.kind == stringNode && name.text == "" {
		d.addf(line, "name", "is empty")
	}
	if r.Key().Name == "" {
		return
	}
	if line, ok := d.seen[r.Key()]; ok {
		d.addf(n.line, "", "%s is already defined at line %d", r.Key(), line)
		return
	}
	d.seen[r.Key()] = n.line
	d.docs = append(d.docs, Document{Resource: r, File: d.file, Line: n.line, lines: d.lines})
}

// kind finds out what a document is.
func (d *decoder) kind(n *node) (registry.Kind, bool) {
	var names []string
	for _, k := range registry.Kinds() {
		names = append(names, string(k))
	}
	v, given := member(n, "kind")
	switch {
	case !given:
		d.addf(n.line, "kind", "is missing; it is one of %s", strings.Join(names, ", "))
	case v.kind == unreadable:
	case v.kind != stringNode:
		d.addf(v.line, "kind", "expected a string, got %s", v.kind)
	case !slices.Contains(names, v.text):
		d.addf(v.line, "kind", "unknown kind %s%s", quote(v.text), suggest(v.text, names))
	default:
		return registry.Kind(v.text), true
	}
	return "", false
}

// member is the value of a mapping's first key of that name.
func member(n *node, name string) (*node, bool) {
	for i, k := range n.keys {
		if k.name == name {
			return n.items[i], true
		}
	}
	return nil, false
}

func (d *decoder) fields(t reflect.Type) []field {
	list, ok := d.types[t]
	if !ok {
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			if name != "" && name != "-" {
				list = append(list, field{name, i})
			}
		}
		d.types[t] = list
	}
	return list
}

func (d *decoder) structure(n *node, v reflect.Value, path string) {
	given := make(map[string]int, len(n.keys))
	fields := d.fields(v.Type())
	for i, k := range n.keys {
		at := join(path, k.name)
		if line, twice := given[k.name]; twice {
			d.addf(k.line, at, "is given twice, first at line %d", line)
			continue
		}
		given[k.name] = k.line
		f, ok := find(fields, k.name)
		switch {
		case ok && v.Field(f.i).Type() == reflect.TypeFor[registry.Metadata]():
			// The store's own; there after an export, and ignored.
		case ok:
			d.lines[at] = k.line
			d.value(n.items[i], v.Field(f.i), at)
		case path == "" && k.name == "kind":
		default:
			names := make([]string, len(fields))
			for i, f := range fields {
				names[i] = f.name
			}
			d.addf(k.line, at, "unknown field%s", suggest(k.name, names))
		}
	}
}

func find(fields []field, name string) (field, bool) {
	for _, f := range fields {
		if f.name == name {
			return f, true
		}
	}
	return field{}, false
}

// value stores the node in v, or reports why it cannot.
func (d *decoder) value(n *node, v reflect.Value, path string) {
	switch n.kind { //nolint:exhaustive // the others are looked at below
	case unreadable:
		return
	case nullNode:
		d.addf(n.line, path, "has no value: give it one, or leave the field out")
		return
	}
	if u, ok := reflect.TypeAssert[json.Unmarshaler](v.Addr()); ok {
		d.unmarshal(n, u, path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		d.value(n, p.Elem(), path)
		v.Set(p)
	case reflect.Struct:
		if d.expect(n, mapNode, path) {
			d.structure(n, v, path)
		}
	case reflect.Slice:
		if d.expect(n, listNode, path) {
			d.slice(n, v, path)
		}
	case reflect.String:
		if d.expect(n, stringNode, path) {
			v.SetString(n.text)
		}
	case reflect.Bool:
		if d.expect(n, boolNode, path) {
			v.SetBool(strings.EqualFold(n.text, "true"))
		}
	case reflect.Int, reflect.Int32, reflect.Int64:
		if d.expect(n, numberNode, path) {
			i, err := strconv.ParseInt(n.text, 10, v.Type().Bits())
			if err != nil {
				d.addf(n.line, path, "expected a whole number")
			}
			v.SetInt(i)
		}
	default:
		d.addf(n.line, path, "cannot be read: the type %s is not supported", v.Type())
	}
}

func (d *decoder) slice(n *node, v reflect.Value, path string) {
	if len(n.items) == 0 {
		return // an empty list says what no list says
	}
	list := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		at := index(path, i)
		d.lines[at] = item.line
		d.value(item, list.Index(i), at)
	}
	v.Set(list)
}

// unmarshal hands a scalar to a type with a JSON form of its own, whose error
// says what it expects.
func (d *decoder) unmarshal(n *node, u json.Unmarshaler, path string) {
	text := []byte(n.text)
	switch n.kind { //nolint:exhaustive // the other scalars are JSON as they stand
	case listNode:
		text = []byte("[]")
	case mapNode:
		text = []byte("{}")
	case stringNode:
		var err error
		if text, err = json.Marshal(n.text); err != nil {
			d.addf(n.line, path, "%v", err)
			return
		}
	}
	if err := u.UnmarshalJSON(text); err != nil {
		d.addf(n.line, path, "%v", err)
	}
}

// expect reports a value of another kind. It never repeats the value, which
// may be a secret in the wrong place.
func (d *decoder) expect(n *node, want nodeKind, path string) bool {
	if n.kind == want {
		return true
	}
	hint := ""
	if want == stringNode && (n.kind == numberNode || n.kind == boolNode) {
		hint = "; put it in quotes"
	}
	d.addf(n.line, path, "expected %s, got %s%s", want, n.kind, hint)
	return false
}

// suggest is a hint at the known name that was probably meant.
func suggest(name string, known []string) string {
	best, bestDistance := "", 3
	for _, k := range known {
		if strings.EqualFold(k, name) {
			best = k
			break
		}
		if n := distance(strings.ToLower(name), strings.ToLower(k)); n < bestDistance && n < len(k)/2+1 {
			best, bestDistance = k, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is the edit distance of two short strings (Levenshtein), or a large
// number when one is long.
func distance(a, b string) int {
	const limit = 64
	if len(a) > limit || len(b) > limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
