package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/mcpgate/mcpgate/registry"
)

// MaxBytes is the largest input of Parse.
const MaxBytes = 256 << 20

// Document is one resource and where it stands.
type Document struct {
	Resource registry.Resource
	// File is the name given to ParseDocuments, Line the document's first.
	File string
	Line int

	lines map[string]int
}

// Position is "file:line" of a field by its path, as registry.Problem has it;
// of what holds the field when the field itself is not there.
func (d Document) Position(field string) string {
	for field != "" {
		if line, ok := d.lines[field]; ok {
			return fmt.Sprintf("%s:%d", d.File, line)
		}
		field = field[:max(strings.LastIndexAny(field, ".["), 0)]
	}
	return fmt.Sprintf("%s:%d", d.File, d.Line)
}

// Parse reads the resources in data, which is UTF-8: YAML documents between
// lines that begin with "---", JSON values one after the other or in a list,
// or both. name stands for the input in messages. The error is an *Error; then
// nothing is returned.
func Parse(name string, data []byte) ([]registry.Resource, error) {
	docs, err := ParseDocuments(name, data)
	if err != nil {
		return nil, err
	}
	list := make([]registry.Resource, len(docs))
	for i, d := range docs {
		list[i] = d.Resource
	}
	return list, nil
}

// ParseDocuments is Parse, with the positions of the fields.
func ParseDocuments(name string, data []byte) ([]Document, error) {
	r := &report{file: name}
	if len(data) > MaxBytes {
		r.addf(1, "", "the input is larger than %d bytes", MaxBytes)
		return nil, r.err()
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if i := invalidUTF8(data); i >= 0 {
		r.addf(1+bytes.Count(data[:i], []byte{'\n'}), "", "the input is not UTF-8")
		return nil, r.err()
	}
	d := newDecoder(r)
	for part := range parts(data) {
		d.part(part)
		if r.full() {
			break
		}
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return d.docs, nil
}

func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		c, n := utf8.DecodeRune(data[i:])
		if c == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return -1
}

// part is the text between two separators.
type part struct {
	text []byte
	// line is the number of its first line.
	line int
}

// parts splits the input at its document separators. YAML lets no scalar hold
// a line that begins with "---" (1.2.2, rule 206, c-forbidden), so that the
// split needs no parser, and a document that cannot be read leaves the others
// readable.
func parts(data []byte) func(yield func(part) bool) {
	return func(yield func(part) bool) {
		start, startLine := 0, 1
		for pos, line := 0, 1; pos < len(data); line++ {
			end := len(data)
			if i := bytes.IndexByte(data[pos:], '\n'); i >= 0 {
				end = pos + i + 1
			}
			if pos > start && isSeparator(data[pos:end]) {
				if !yield(part{text: data[start:pos], line: startLine}) {
					return
				}
				start, startLine = pos, line
			}
			pos = end
		}
		yield(part{text: data[start:], line: startLine})
	}
}

func isSeparator(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	return ok && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0)
}

// isBlank reports whether there are only comments.
func isBlank(text []byte) bool {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return true
}

// part reads the resources of a part.
func (d *decoder) part(p part) {
	body := p
	if isSeparator(p.text) {
		// What follows the separator on its line belongs to the document.
		body.text = p.text[3:]
	}
	if isBlank(body.text) {
		return
	}
	if t := bytes.TrimSpace(body.text); len(t) > 0 && (t[0] == '{' || t[0] == '[') && d.json(body) {
		return
	}
	if body.text[0] == '%' {
		d.addf(p.line, "", "YAML directives are not accepted")
		return
	}
	n, ok := readYAML(d.report, p.text, p.line)
	if !ok {
		return
	}
	if n.kind != listNode {
		d.document(n)
		return
	}
	for _, item := range n.items {
		d.document(item)
	}
}

// json reads a part that looks like JSON. It returns false, having left no
// trace, when the part is not JSON and may be YAML in flow style.
func (d *decoder) json(p part) bool {
	problems, docs := len(d.list), len(d.docs)
	j := newJSONReader(d.report, p.text, p.line)
	err := j.each(d.document)
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return true
	case errors.Is(err, errTooLarge):
		d.addf(j.line, "", "a resource is larger than %d bytes", maxJSONBytes)
		return true
	case !errors.As(err, &syntax) && !errors.Is(err, io.ErrUnexpectedEOF):
		d.addf(j.line, "", "%v", err)
		return true
	case strings.EqualFold(filepath.Ext(d.file), ".json") || len(p.text) > maxYAMLBytes:
		line := j.line
		if syntax != nil {
			line = p.line + bytes.Count(p.text[:min(int(syntax.Offset), len(p.text))], []byte{'\n'})
		}
		d.addf(line, "", "not valid JSON: %v", err)
		return true
	}
	d.forget(docs)
	d.list = d.list[:problems]
	return false
}
