package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Encode is the compact JSON of a resource, `kind` first, metadata included:
// the form in which stores keep it and the admin API answers.
func Encode(r Resource) ([]byte, error) {
	kind := r.Key().Kind
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", r.Key(), err)
	}
	// body is an object with at least a name, so a comma follows the kind.
	b := make([]byte, 0, len(body)+len(kind)+12)
	b = fmt.Appendf(b, `{"kind":%q,`, kind)
	return append(b, body[1:]...), nil
}

// Decode reads what Encode wrote. It is not for input from outside, which
// package manifest reads strictly.
func Decode(data []byte) (Resource, error) {
	kind, err := kindOf(data)
	if err != nil {
		return nil, fmt.Errorf("decode resource: %w", err)
	}
	r, err := New(kind)
	if err != nil {
		return nil, fmt.Errorf("decode resource: %w", err)
	}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("decode %s: %w", kind, err)
	}
	return r, nil
}

// kindOf finds the kind without reading all of the resource, since Encode puts
// it first.
func kindOf(data []byte) (Kind, error) {
	if rest, ok := bytes.CutPrefix(data, []byte(`{"kind":"`)); ok {
		if kind, _, ok := bytes.Cut(rest, []byte{'"'}); ok {
			return Kind(kind), nil
		}
	}
	var head struct {
		Kind Kind `json:"kind"`
	}
	err := json.Unmarshal(data, &head)
	return head.Kind, err
}
