package check

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// codec is the gRPC codec "proto" that reads a CheckRequest into an exchange
// and writes an answer, and leaves every other message to the normal codec.
type codec struct{ normal encoding.CodecV2 }

func newCodec() codec { return codec{normal: encoding.GetCodecV2(proto.Name)} }

// Marshal implements encoding.CodecV2. It refuses an answer without content:
// Envoy takes the empty message for an allow.
func (c codec) Marshal(m any) (mem.BufferSlice, error) {
	a, ok := m.(*answer)
	if !ok {
		return c.normal.Marshal(m)
	}
	if !a.decided() {
		return nil, errors.New("empty answer to a check")
	}
	return mem.BufferSlice{mem.SliceBuffer(a.wire)}, nil
}

// Unmarshal implements encoding.CodecV2. What is wrong with a CheckRequest
// goes into the exchange, so that it is answered and recorded like any other
// refusal.
func (c codec) Unmarshal(data mem.BufferSlice, m any) error {
	e, ok := m.(*exchange)
	if !ok {
		return c.normal.Unmarshal(data, m)
	}
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	if err := e.decode(buf.ReadOnlyData()); err != nil {
		e.malformed = fmt.Errorf("read CheckRequest: %w", err)
	}
	return nil
}

// Name implements encoding.CodecV2.
func (codec) Name() string { return proto.Name }
