//go:build !race

package rpcbody

import "testing"

// TestNoAllocations is not built for the race detector, under which sync.Pool
// drops what it is given at random.
func TestNoAllocations(t *testing.T) {
	bodies := map[string][]byte{
		"objects": benchBody(64<<10, false),
		"text":    benchBody(64<<10, true),
		"escapes in arguments": []byte(arguments(
			`{"a\n":"\u00e9","b\n":1,"c":{"d\n":2},"e":"\ud83d\ude00"}`)),
		"large object": []byte(arguments("{" + members(0, 500, "0") + "}")),
		"subscriptions": []byte(params(
			`"notifications":{"resourceSubscriptions":["a","b"],"taskIds":["t"]}`)),
	}
	for _, test := range messages {
		var m Message
		if Read([]byte(test.body), &m) == nil && test.want != `request resources/read id=17 uri=ui://widget/a b?x=%00#é` {
			bodies[test.want] = []byte(test.body)
		}
	}
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			var m Message
			allocs := testing.AllocsPerRun(100, func() {
				if err := Read(body, &m); err != nil {
					t.Fatal(err)
				}
			})
			if allocs != 0 {
				t.Errorf("%v allocations", allocs)
			}
		})
	}
}
