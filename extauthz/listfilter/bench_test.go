package listfilter

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// toolList is a tools/list reply of n tools, about 600 bytes each, of which
// every second is hidden from the scope weather:read.
func toolList(n int) string {
	tools := make([]string, n)
	for i := range tools {
		word := "seen"
		if i%2 == 1 {
			word = "hidden"
		}
		tools[i] = fmt.Sprintf(`{"name":"%s_%d","title":"Tool number %d","description":"%s","inputSchema":{"type":"object","properties":{`+
			`"place":{"type":"string","description":"The place to look up, as \"city, country\""},"days":{"type":"integer","minimum":1,"maximum":14},`+
			`"units":{"type":"string","enum":["metric","imperial"],"default":"metric"}},"required":["place"],"additionalProperties":false},`+
			`"annotations":{"readOnlyHint":true,"openWorldHint":false}}`, word, i, i, strings.Repeat("Does one thing well. ", 8))
	}
	return reply1(`{"tools":[` + strings.Join(tools, ",") + `],"nextCursor":"x","ttlMs":1000,"cacheScope":"public"}`)
}

func BenchmarkSplice(b *testing.B) {
	policy, _ := compiled{weather()}.policy("weather")
	for _, tc := range []struct {
		name   string
		tools  int
		scopes string
	}{
		{"100 tools half hidden", 100, "weather:read"},
		{"100 tools all seen", 100, "weather:all"},
		{"8300 tools half hidden", 8300, "weather:read"},
	} {
		b.Run(tc.name, func(b *testing.B) {
			data := []byte(toolList(tc.tools))
			p := &splicer{own: tools, maxItems: 10_000, visible: func(l list) (filter, error) { return policy.visible(tc.scopes, l), nil }}
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				m, err := p.read(data)
				if err != nil {
					b.Fatal(err)
				}
				for range m.pieces() {
				}
			}
		})
	}
}

// BenchmarkProcess is one whole stream, without the network.
func BenchmarkProcess(b *testing.B) {
	s := newServer(b, Config{})
	for _, tc := range []struct {
		name string
		in   messages
	}{
		{"JSON 100 tools", messages{start(about(), false, ok, asJSON), piece(toolList(100)), last("")}},
		{"events 100 tools", messages{start(about(), false, ok, asEvents), piece("data: " + toolList(100) + "\n\n"), last("")}},
		{"JSON 5 MB", messages{start(about(), false, ok, asJSON), piece(toolList(8300)), last("")}},
		{"initialize", messages{start(about("inspect=session", "method=initialize"), false, ok, asJSON, sessionID), piece("{}"), last("")}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := treat(b, s, tc.in...); got.err != nil || !got.ended {
					b.Fatalf("got %+v", got)
				}
			}
		})
	}
}

// BenchmarkOverGRPC is one whole stream over gRPC in memory. cpu-ns/op is the
// processor time of both sides, the client's included.
func BenchmarkOverGRPC(b *testing.B) {
	c := dial(b, newServer(b, Config{}))
	list := toolList(100)
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		w := open(b, c)
		w.send(start(about(), false, ok, asJSON), piece(list), last(""))
		if got := w.receive(); !got.ended {
			b.Fatalf("got %+v", got)
		}
	}
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano())/float64(b.N), "cpu-ns/op")
}
