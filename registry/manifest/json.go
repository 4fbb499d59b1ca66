package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/mcpgate/mcpgate/registry"
)

// maxJSONBytes is the largest JSON value that is one resource: escapes and
// indentation included, so above the bound of the resource itself.
const maxJSONBytes = 4 * registry.MaxResourceBytes

// jsonReader reads JSON values one after the other. YAML readers do not read
// all of JSON: they refuse surrogate pairs, which common encoders write.
type jsonReader struct {
	*report
	text []byte
	dec  *json.Decoder
	// line is that of offset, by which it is counted on.
	line   int
	offset int64
	// token is the text since the token before.
	token []byte
	// start is where the current resource begins.
	start int64
}

func newJSONReader(r *report, text []byte, base int) *jsonReader {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return &jsonReader{report: r, text: text, dec: dec, line: base}
}

var errTooLarge = errors.New("too large")

// each calls visit with every resource: the values one after the other, and
// the elements of those that are lists. It returns a *json.SyntaxError when the
// text is not JSON.
func (j *jsonReader) each(visit func(*node)) error {
	for !j.full() {
		tok, err := j.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if tok != json.Delim('[') {
			if err := j.visit(tok, visit); err != nil {
				return err
			}
			continue
		}
		for j.dec.More() && !j.full() {
			if tok, err = j.next(); err != nil {
				return err
			}
			if err := j.visit(tok, visit); err != nil {
				return err
			}
		}
		if j.full() {
			return nil
		}
		if _, err := j.next(); err != nil { // the closing bracket
			return err
		}
	}
	return nil
}

func (j *jsonReader) visit(tok json.Token, visit func(*node)) error {
	j.start = j.dec.InputOffset()
	n, err := j.node(tok, "", 0)
	if err == nil {
		visit(n)
	}
	return err
}

func (j *jsonReader) next() (json.Token, error) {
	tok, err := j.dec.Token()
	if err != nil {
		return nil, err
	}
	end := j.dec.InputOffset()
	j.token = j.text[j.offset:end]
	j.line += bytes.Count(j.token, []byte{'\n'})
	j.offset = end
	return tok, nil
}

func (j *jsonReader) node(tok json.Token, path string, depth int) (*node, error) {
	out := &node{line: j.line}
	if depth > maxDepth {
		return nil, fmt.Errorf("%s is nested deeper than %d levels", path, maxDepth)
	}
	if j.offset-j.start > maxJSONBytes {
		return nil, errTooLarge
	}
	switch v := tok.(type) {
	case nil:
		out.kind = nullNode
	case bool:
		out.kind, out.text = boolNode, fmt.Sprint(v)
	case json.Number:
		out.kind, out.text = numberNode, v.String()
	case string:
		out.kind, out.text = stringNode, v
		// The decoder puts U+FFFD for half of a surrogate pair.
		if strings.ContainsRune(v, utf8.RuneError) && bytes.Contains(bytes.ToLower(j.token), []byte(`\ud`)) {
			out.kind = unreadable
			j.addf(j.line, path, "has a character that cannot be read")
		}
	case json.Delim:
		if v == '[' {
			return out, j.list(out, path, depth)
		}
		return out, j.mapping(out, path, depth)
	}
	return out, nil
}

func (j *jsonReader) list(out *node, path string, depth int) error {
	out.kind = listNode
	for j.dec.More() {
		tok, err := j.next()
		if err != nil {
			return err
		}
		n, err := j.node(tok, index(path, len(out.items)), depth+1)
		if err != nil {
			return err
		}
		out.items = append(out.items, n)
	}
	_, err := j.next()
	return err
}

func (j *jsonReader) mapping(out *node, path string, depth int) error {
	out.kind = mapNode
	for j.dec.More() {
		tok, err := j.next()
		if err != nil {
			return err
		}
		name, ok := tok.(string)
		if !ok {
			return fmt.Errorf("%s has a key that is not a string", path)
		}
		k := key{name: name, line: j.line}
		if tok, err = j.next(); err != nil {
			return err
		}
		n, err := j.node(tok, join(path, name), depth+1)
		if err != nil {
			return err
		}
		out.keys = append(out.keys, k)
		out.items = append(out.items, n)
	}
	_, err := j.next()
	return err
}
