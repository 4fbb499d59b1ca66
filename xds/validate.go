package xds

import (
	"google.golang.org/protobuf/proto"
)

// Validate reports why Envoy would refuse m, or why it must not get it.
func Validate(m proto.Message) error { return validateFields(m.ProtoReflect(), 0) }
