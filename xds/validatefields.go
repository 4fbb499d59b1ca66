package xds

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// maxAnyDepth bounds messages inside messages.
const maxAnyDepth = 8

// validateFields applies the constraints of the API's own definition to m and,
// through every Any, to what m carries: ValidateAll stops at an Any, Envoy
// does not.
func validateFields(m protoreflect.Message, depth int) error {
	if depth > maxAnyDepth {
		return errors.New("messages nested too deep")
	}
	var errs []error
	if v, ok := m.Interface().(interface{ ValidateAll() error }); ok {
		if err := v.ValidateAll(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, eachAny(m, func(inner proto.Message) error {
		return validateFields(inner.ProtoReflect(), depth+1)
	}))...)
}

// eachAny calls fn with the content of every Any in m, but not of those inside
// another Any.
func eachAny(m protoreflect.Message, fn func(proto.Message) error) error {
	if a, ok := m.Interface().(*anypb.Any); ok {
		inner, err := a.UnmarshalNew()
		if err != nil {
			return fmt.Errorf("unpack %s: %w", a.GetTypeUrl(), err)
		}
		if len(inner.ProtoReflect().GetUnknown()) > 0 {
			return fmt.Errorf("unpack %s: unknown fields", a.GetTypeUrl())
		}
		return fn(inner)
	}
	var errs []error
	visit := func(v protoreflect.Value) { errs = append(errs, eachAny(v.Message(), fn)) }
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap() && fd.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, mv protoreflect.Value) bool {
				visit(mv)
				return true
			})
		case fd.IsList() && fd.Message() != nil:
			for i := range v.List().Len() {
				visit(v.List().Get(i))
			}
		case !fd.IsMap() && !fd.IsList() && fd.Message() != nil:
			visit(v)
		}
		return true
	})
	return errors.Join(errs...)
}
