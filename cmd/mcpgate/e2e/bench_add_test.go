package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// benchWait is how long a change may take. It decides nothing but that a
// benchmark fails.
const benchWait = 30 * time.Second

// BenchmarkAddServer adds a server over the admin API of a gateway with few
// servers and of one with many, each with an Envoy of its own, by turns. The
// time is that of the API call, which returns when Envoy has accepted the
// change; then one request is sent to the new server, and it is deleted.
//
// One iteration is one server added and deleted on each. cpu-ms/change is the
// program's CPU time, of all its threads over the whole run, by the number of
// additions and deletions; refused counts first requests that were not 200.
func BenchmarkAddServer(b *testing.B) {
	few, many := 10, 10_000
	if testing.Short() {
		many = 500
	}
	upstream := startChild(b, "upstream").line(b)
	type side struct {
		*benchGateway
		size          string
		conn          *benchConn
		request       string
		add, remove   []float64
		cpu, envoyCPU int64
		refused       int
	}
	var sides []*side
	for _, n := range []int{few, many} {
		g := startServe(b)
		begin := time.Now()
		g.fill(n, upstream)
		filled := time.Since(begin)
		g.startEnvoy()
		b.Logf("%d servers: stored in %v, in a new Envoy after %v", n, filled.Round(time.Millisecond), (time.Since(begin) - filled).Round(time.Millisecond))
		s := &side{benchGateway: g, size: fmt.Sprint(n), conn: &benchConn{address: g.address}, request: callRequest(b, g.gateway)}
		b.Cleanup(s.conn.close)
		sides = append(sides, s)
	}
	change := func(s *side, name string) (add, remove float64) {
		begin := time.Now()
		s.put(benchWait, server(name, upstream))
		add = float64(time.Since(begin).Microseconds()) / 1e3
		if status := s.conn.do([]byte(to(s.request, name))); status != "200" {
			s.refused++
			b.Logf("%s servers: first request to %s: %q", s.size, name, status)
		}
		begin = time.Now()
		s.benchGateway.remove(benchWait, name)
		return add, float64(time.Since(begin).Microseconds()) / 1e3
	}
	for i := range 10 {
		for _, s := range sides {
			change(s, fmt.Sprintf("warm-up-%d", i))
		}
	}
	for _, s := range sides {
		s.refused, s.cpu, s.envoyCPU = 0, cpuOf(s.program.pid), cpuOf(s.envoy.Pid())
	}
	for n := 0; b.Loop(); n++ {
		for _, s := range sides {
			add, remove := change(s, fmt.Sprintf("new-%d", n))
			s.add, s.remove = append(s.add, add), append(s.remove, remove)
		}
		slices.Reverse(sides)
	}
	slices.SortFunc(sides, func(x, y *side) int { return strings.Compare(x.size, y.size) })
	var p50, cpu []float64
	for _, s := range sides {
		changes := float64(2 * len(s.add))
		cpu = append(cpu, float64(cpuOf(s.program.pid)-s.cpu)/1e6/changes)
		slices.Sort(s.add)
		p50 = append(p50, quantile(s.add, 0.5))
		b.ReportMetric(quantile(s.add, 0.5), "add-p50-ms/"+s.size)
		b.ReportMetric(quantile(s.add, 0.99), "add-p99-ms/"+s.size)
		b.ReportMetric(median(s.remove), "delete-p50-ms/"+s.size)
		b.ReportMetric(cpu[len(cpu)-1], "cpu-ms/change/"+s.size)
		b.ReportMetric(float64(cpuOf(s.envoy.Pid())-s.envoyCPU)/1e6/changes, "envoy-cpu-ms/change/"+s.size)
		b.ReportMetric(float64(s.refused), "refused/"+s.size)
		b.ReportMetric(rssOf(s.program.pid), "MB/"+s.size)
		b.ReportMetric(rssOf(s.envoy.Pid()), "envoy-MB/"+s.size)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(len(sides[0].add)), "servers")
	b.ReportMetric(p50[1]/p50[0], "add-ratio")
	b.ReportMetric(cpu[1]/cpu[0], "cpu-ratio")
}
