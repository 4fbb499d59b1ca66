package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxBytes is the largest configuration that is read.
const maxBytes = 1 << 20

// read sets the fields of the struct that into points to from a YAML document,
// and leaves alone those that are absent or null. It is strict: names are
// compared byte for byte, and a field that is not known or there twice, a
// value of another type and a second document are problems, all of which the
// error tells with line and field.
func read(data []byte, into any) error {
	if len(data) > maxBytes {
		return fmt.Errorf("larger than %d bytes", maxBytes)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil // nothing but defaults
	case err != nil:
		return err
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("there must be one document only")
	}
	r := &reader{}
	if len(doc.Content) > 0 {
		r.value(doc.Content[0], reflect.ValueOf(into).Elem(), "")
	}
	return errors.Join(r.errs...)
}

type reader struct{ errs []error }

func (r *reader) addf(n *yaml.Node, path, format string, args ...any) {
	if path != "" {
		path += ": "
	}
	r.errs = append(r.errs, fmt.Errorf("line %d: %s%s", n.Line, path, fmt.Sprintf(format, args...)))
}

// value sets v from the node. The depth of the recursion is that of v's type.
func (r *reader) value(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return
	}
	if u, ok := reflect.TypeAssert[json.Unmarshaler](v.Addr()); ok {
		r.unmarshal(n, u, path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		r.mapping(n, v, path)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			r.addf(n, path, "must be a list")
			return
		}
		list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
		for i, item := range n.Content {
			r.value(item, list.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
		v.Set(list)
	case reflect.String:
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
			r.addf(n, path, "must be a string")
			return
		}
		v.SetString(n.Value)
	default:
		if err := n.Decode(v.Addr().Interface()); err != nil || n.Kind != yaml.ScalarNode || n.ShortTag() == "!!str" {
			r.addf(n, path, "must be a %s", map[reflect.Kind]string{reflect.Bool: "truth value", reflect.Int: "whole number"}[v.Kind()])
		}
	}
}

func (r *reader) unmarshal(n *yaml.Node, u json.Unmarshaler, path string) {
	if n.Kind != yaml.ScalarNode {
		r.addf(n, path, "must be a single value")
		return
	}
	text := []byte(n.Value)
	if n.ShortTag() == "!!str" {
		var err error
		if text, err = json.Marshal(n.Value); err != nil {
			r.addf(n, path, "must be a single value")
			return
		}
	}
	if err := u.UnmarshalJSON(text); err != nil {
		r.addf(n, path, "%s", err)
	}
}

func (r *reader) mapping(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		r.addf(n, path, "must be fields and their values")
		return
	}
	fields := fieldsOf(v)
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := key.Value
		at := name
		if path != "" {
			at = path + "." + name
		}
		field, ok := fields[name]
		switch {
		case key.Kind != yaml.ScalarNode || !ok:
			r.addf(key, at, "unknown field")
		case seen[name]:
			r.addf(key, at, "is there twice")
		default:
			r.value(value, field, at)
		}
		seen[name] = true
	}
}

// fieldsOf are the fields of a struct by their name in a file; those of an
// embedded struct are its own.
func fieldsOf(v reflect.Value) map[string]reflect.Value {
	fields := make(map[string]reflect.Value)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			maps.Copy(fields, fieldsOf(v.Field(i)))
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields[name] = v.Field(i)
	}
	return fields
}
