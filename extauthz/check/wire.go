package check

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Errors of decode. They say nothing about the request's content.
var (
	errWireType = errors.New("a field has an unexpected wire type")
	errTwice    = errors.New("a field is there twice")
	errText     = errors.New("a text is not valid UTF-8")
)

// field is one field of a message: bytes of a length-delimited one, value of
// the others.
type field struct {
	num   int
	typ   protowire.Type
	bytes []byte
	value uint64
}

// walk calls fn with each field of a message, in order, groups left out.
func walk(b []byte, fn func(field) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("field tag: %w", protowire.ParseError(n))
		}
		b = b[n:]
		f := field{num: int(num), typ: typ}
		switch typ {
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			f.value, n = protowire.ConsumeFixed64(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return fmt.Errorf("field %d: %w", num, protowire.ParseError(n))
		}
		b = b[n:]
		if err := fn(f); err != nil {
			return err
		}
	}
	return nil
}

// mapEntry reads the key and the value message of a map field.
func mapEntry(f field) (key, value []byte, err error) {
	if f.typ != protowire.BytesType {
		return nil, nil, errWireType
	}
	var once set
	err = walk(f.bytes, func(f field) error {
		switch f.num {
		case fMapKey:
			key = f.bytes
		case fMapValue:
			value = f.bytes
		default:
			return nil
		}
		return once.add(f, protowire.BytesType)
	})
	return key, value, err
}

// set remembers the fields of a message that were seen. Their numbers are
// below 64.
type set uint64

func (s *set) add(f field, want protowire.Type) error {
	if f.typ != want {
		return errWireType
	}
	bit := set(1) << (uint(f.num) & 63)
	if *s&bit != 0 {
		return errTwice
	}
	*s |= bit
	return nil
}

func (s *set) text(f field) (string, error) {
	if err := s.add(f, protowire.BytesType); err != nil {
		return "", err
	}
	if !utf8.Valid(f.bytes) {
		return "", errText
	}
	return string(f.bytes), nil
}
