package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/mcpgate/mcpgate/envoy/envoytest"
	"github.com/mcpgate/mcpgate/registry"
)

// BenchmarkToolsCall is a tools/call through one Envoy that has four listeners,
// measured one after the other in an order drawn for each round:
//
//   - gateway: the gateway as it is.
//   - empty: the least configuration with an ext_authz filter, asking an empty
//     grpc-go service (V2 of docs/performance.md).
//   - same: the gateway's own configuration, asking the empty service: what the
//     difference to empty owes to Envoy.
//   - noproc: the gateway without the reply filter in the chain.
//
// One iteration is one round. ratio is the gateway's throughput by that of
// empty, and so on, in the same round; the median, and the range, of all rounds.
func BenchmarkToolsCall(b *testing.B) {
	upstream := startChild(b, "upstream").line(b)
	g := startServe(b)
	g.put(0, server("bench", upstream))
	stored, err := g.admin.Get(context.Background(), registry.Key{Kind: registry.KindServer, Name: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	socket := filepath.Join(g.dir, "empty.sock")
	empty := startChild(b, "empty", socket, fmt.Sprintf("plain:bench@%d", stored.Meta().Generation))
	empty.line(b)

	emptyPort, samePort, noprocPort := envoytest.FreePort(b), envoytest.FreePort(b), envoytest.FreePort(b)
	g.startEnvoy(
		emptyShape(b, emptyPort, socket, upstream),
		g.variant("same", samePort, func(filter string, config map[string]any) bool {
			if filter == "envoy.filters.http.ext_authz" {
				at[map[string]any](b, config, "grpc_service", "envoy_grpc")["cluster_name"] = "empty"
			}
			return true
		}),
		g.variant("noproc", noprocPort, func(filter string, _ map[string]any) bool { return filter != "envoy.filters.http.ext_proc" }))

	variants := []struct {
		name, address string
		service       int
	}{
		{"gateway", g.address, g.program.pid},
		{"empty", fmt.Sprintf("127.0.0.1:%d", emptyPort), empty.pid},
		{"same", fmt.Sprintf("127.0.0.1:%d", samePort), empty.pid},
		{"noproc", fmt.Sprintf("127.0.0.1:%d", noprocPort), g.program.pid},
	}
	request := callRequest(b, g.gateway)
	for _, v := range variants {
		k := &benchConn{address: v.address}
		if status := k.do([]byte(request)); status != "200" {
			b.Fatalf("%s answers %q", v.name, status)
		}
		k.close()
	}
	for _, c := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("c=%d", c), func(b *testing.B) {
			all := map[string][]cell{}
			for b.Loop() {
				for _, i := range rand.Perm(len(variants)) {
					v := variants[i]
					m := measure(v.address, request, c, g.envoy.Pid(), v.service)
					if m.wrong > 0 {
						b.Errorf("%s: %d answers of %d are not 200", v.name, m.wrong, m.requests)
					}
					all[v.name] = append(all[v.name], m)
				}
			}
			b.ReportMetric(0, "ns/op")
			reportCells(b, all)
		})
	}
	b.Logf("largest resident size: gateway %.0f MB, empty service %.0f MB, Envoy %.0f MB", rssOf(g.program.pid), rssOf(empty.pid), rssOf(g.envoy.Pid()))
}

// paired are the ratios of a quantity of two variants, round by round.
func paired(one, other []cell, of func(cell) float64) []float64 {
	var out []float64
	for i, c := range one {
		out = append(out, of(c)/of(other[i]))
	}
	return out
}

func reportCells(b *testing.B, all map[string][]cell) {
	b.Helper()
	p50 := func(c cell) float64 { return c.p50 }
	reportRange(b, paired(all["gateway"], all["empty"], cell.rps), "ratio")
	reportRange(b, paired(all["gateway"], all["same"], cell.rps), "ratio-same")
	reportRange(b, paired(all["gateway"], all["noproc"], p50), "p50-ratio-noproc")
	reportRange(b, paired(all["gateway"], all["empty"], func(c cell) float64 { return c.cpu[0] + c.cpu[1] }), "cpu-ratio")
	for name, cells := range all {
		reportVariant(b, name, cells)
	}
}

// reportVariant reports the medians of one variant's rounds; the processes
// whose CPU time was measured are Envoy and a service.
func reportVariant(b *testing.B, name string, cells []cell) {
	b.Helper()
	for unit, of := range map[string]func(cell) float64{
		"req/s":          cell.rps,
		"p50-µs":         func(c cell) float64 { return c.p50 },
		"p99-µs":         func(c cell) float64 { return c.p99 },
		"envoy-cpu-µs":   func(c cell) float64 { return c.cpu[0] },
		"service-cpu-µs": func(c cell) float64 { return c.cpu[1] },
	} {
		var values []float64
		for _, c := range cells {
			values = append(values, of(c))
		}
		b.ReportMetric(median(values), name+"-"+unit)
	}
}
