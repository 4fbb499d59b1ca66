package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/mcpgate/mcpgate/registry"
)

// BenchmarkToolsList is a tools/list whose reply, 60 KB with 100 tools, passes
// the list filter, beside the same request with an upstream of small replies
// that is only decided on (ping). One caller may use every second tool, the
// other all of them.
//
// One iteration is one round of all three. filter-cpu-µs is the program's CPU
// time for the first caller's list less that for a ping in the same round: what
// the filter costs in the program.
func BenchmarkToolsList(b *testing.B) {
	upstream := startChild(b, "upstream").line(b)
	g := startServe(b)
	g.put(0,
		&registry.Server{Name: "list", Upstream: registry.Upstream{URL: "http://" + upstream + listPath}},
		server("bench", upstream),
		&registry.Scope{Name: "half", Rules: []registry.Rule{{Servers: []string{"list", "bench"}, Tools: []registry.Pattern{"seen_*"}}}})
	g.startEnvoy()
	const list, ping = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	requests := []struct{ name, request string }{
		{"half", to(benchRequest(g.gateway, "half", list, 1), "list")},
		{"all", to(benchRequest(g.gateway, "bench", list, 1), "list")},
		{"ping", benchRequest(g.gateway, "half", ping, 1)},
	}
	if a := g.post("list", g.token("alice", "half"), list); a.status != 200 || strings.Contains(a.body, "hidden_1") || !strings.Contains(a.body, "seen_98") {
		b.Fatalf("the list is not filtered: %d %s", a.status, a.body)
	}
	for _, c := range []int{1, 16} {
		b.Run(fmt.Sprintf("c=%d", c), func(b *testing.B) {
			all := map[string][]cell{}
			for b.Loop() {
				for _, i := range rand.Perm(len(requests)) {
					r := requests[i]
					m := measure(g.address, r.request, c, g.envoy.Pid(), g.program.pid)
					if m.wrong > 0 {
						b.Errorf("%s: %d answers of %d are not 200", r.name, m.wrong, m.requests)
					}
					all[r.name] = append(all[r.name], m)
				}
			}
			b.ReportMetric(0, "ns/op")
			var filter []float64
			for i, m := range all["half"] {
				filter = append(filter, m.cpu[1]-all["ping"][i].cpu[1])
			}
			reportRange(b, filter, "filter-cpu-µs")
			for name, cells := range all {
				reportVariant(b, name, cells)
			}
		})
	}
}
