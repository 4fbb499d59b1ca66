package rpcbody

import (
	jsonv1 "encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/bytedance/sonic"
	jsonv2 "github.com/go-json-experiment/json"
)

// benchBody is a tools/call of about size bytes: of many small objects, or of
// one long text.
func benchBody(size int, text bool) []byte {
	const item = `{"id":%d,"name":"item number %d","tags":["a","b"],"active":true,"score":0.5,"parent":null}`
	var args strings.Builder
	if text {
		args.WriteString(`{"text":"`)
		args.WriteString(strings.Repeat("All work and no play. ", max(1, (size-130)/22)))
		args.WriteString(`"}`)
	} else {
		args.WriteString(`{"items":[`)
		for i := 0; i == 0 || args.Len() < size-200; i++ {
			if i > 0 {
				args.WriteByte(',')
			}
			fmt.Fprintf(&args, item, i, i)
		}
		args.WriteString(`]}`)
	}
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{"name":"get_forecast","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"},"arguments":%s}}`, args.String())
}

var benchBodies = []struct {
	name string
	body []byte
}{
	{"objects-300B", benchBody(300, false)},
	{"objects-4KiB", benchBody(4<<10, false)},
	{"objects-64KiB", benchBody(64<<10, false)},
	{"objects-1MiB", benchBody(1<<20, false)},
	{"text-64KiB", benchBody(64<<10, true)},
}

func bench(b *testing.B, read func([]byte) error) {
	b.Helper()
	for _, c := range benchBodies {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			for b.Loop() {
				if err := read(c.body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	var m Message
	bench(b, func(body []byte) error { return Read(body, &m) })
}

// target is what other readers are asked for: the least that a decision needs.
type target struct {
	Method string `json:"method"`
	Params struct {
		Name string `json:"name"`
	} `json:"params"`
}

func BenchmarkOthers(b *testing.B) {
	for _, o := range []struct {
		name string
		read func([]byte, any) error
	}{
		{"json-v1", jsonv1.Unmarshal},
		{"json-v2", func(body []byte, v any) error { return jsonv2.Unmarshal(body, v) }},
		{"sonic", sonic.Unmarshal},
	} {
		b.Run(o.name, func(b *testing.B) {
			bench(b, func(body []byte) error { return o.read(body, new(target)) })
		})
	}
}
