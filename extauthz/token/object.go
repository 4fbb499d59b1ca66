package token

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
)

// maxDepth bounds the nesting of a header or claim set. Real ones reach 4.
const maxDepth = 32

var errTooDeep = errors.New("nested too deep")

// object is a JSON object whose values are those of json.Unmarshal into any.
type object map[string]any

// readObject reads one JSON object strictly: a duplicate member at any level,
// invalid UTF-8, an unpaired surrogate, a number outside float64 and anything
// after the object are errors. RFC 7519 section 4 lets a reader keep the last
// of two duplicates; two readers that differ are how a token is misread.
func readObject(data []byte) (object, error) {
	if deeper(data, maxDepth) {
		return nil, errTooDeep
	}
	var o object
	if err := json.Unmarshal(data, &o); err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	if o == nil {
		return nil, errors.New("null in place of an object")
	}
	return o, nil
}

// deeper reports whether the brackets of data nest deeper than limit. The
// reader recurses, so this is known before it starts. data need not be valid.
func deeper(data []byte, limit int) bool {
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// at is the value that path leads to. A level that is absent or no object
// means that there is none; a null that is there is a value.
func (o object) at(path []string) (v any, ok bool) {
	if len(path) == 0 {
		return nil, false
	}
	for i, name := range path {
		if v, ok = o[name]; !ok {
			return nil, false
		}
		if i == len(path)-1 {
			return v, true
		}
		m, isObject := v.(map[string]any)
		if !isObject {
			return nil, false
		}
		o = m
	}
	return v, true
}
