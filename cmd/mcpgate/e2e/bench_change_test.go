package e2e_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkChangeUnderLoad changes the registry as fast as Envoy accepts the
// changes, while requests to every server are under way. One iteration is one
// change: a server is added, an existing one moves to another upstream, an
// added one is deleted, by turns. Each change waits for Envoy, as `mcpgate
// apply` does.
//
// Half of the load goes to all servers by turns, half to the one that moves
// next. existing-wrong counts answers of the existing servers that are not
// 200. The added ones are asked without a pause from before they are added
// until after they are deleted; new-wrong counts answers that are not 404, then
// 200, then 404, each in its time.
func BenchmarkChangeUnderLoad(b *testing.B) {
	const (
		existing = 100
		conns    = 8
		// alive is how many added servers there are at a time.
		alive = 3
	)
	u := startChild(b, "upstream")
	upstreams := []string{u.line(b), u.line(b)}
	g := startServe(b)
	g.fill(existing, upstreams[0])
	g.startEnvoy()
	request := callRequest(b, g.gateway)

	var stop atomic.Bool
	var answers, wrong, newAnswers, newWrong, moving atomic.Int64
	var wg sync.WaitGroup
	for first := range conns {
		wg.Go(func() {
			k := &benchConn{address: g.address}
			defer k.close()
			for i := first; !stop.Load(); i++ {
				target := i % existing
				if first%2 == 0 {
					target = int(moving.Load())
				}
				name := fmt.Sprintf("s%05d", target)
				status := k.do([]byte(to(request, name)))
				answers.Add(1)
				if status != "200" && wrong.Add(1) <= 10 {
					b.Logf("existing server %s answers %q", name, status)
				}
			}
		})
	}

	var added []*prober
	next := 0
	took := map[string][]float64{}
	timed := func(what string, change func()) {
		begin := time.Now()
		change()
		took[what] = append(took[what], float64(time.Since(begin).Microseconds())/1e3)
	}
	add := func() {
		p := &prober{name: fmt.Sprintf("new-%d", next), answers: &newAnswers, wrong: &newWrong}
		next++
		added = append(added, p)
		p.start(b, g.address, to(request, p.name))
		timed("add", func() { g.put(benchWait, server(p.name, upstreams[0])) })
		p.phase.Store(probeThere)
	}
	remove := func() {
		p := added[0]
		added = added[1:]
		p.phase.Store(probeGoing)
		timed("delete", func() { g.remove(benchWait, p.name) })
		p.phase.Store(probeGone)
		p.finish()
	}
	for range alive - 1 {
		add()
	}
	clear(took)
	begin := time.Now()
	for n := 0; b.Loop(); n++ {
		switch i := n / 3; n % 3 {
		case 0:
			moving.Store(int64(i % existing))
			add()
		case 1:
			s := server(fmt.Sprintf("s%05d", i%existing), upstreams[(i/existing+1)%2])
			timed("move", func() { g.put(benchWait, s) })
		case 2:
			remove()
		}
	}
	elapsed := time.Since(begin).Seconds()
	stop.Store(true)
	wg.Wait()
	changes := 0
	for what, list := range took {
		changes += len(list)
		b.ReportMetric(median(list), what+"-p50-ms")
	}
	for len(added) > 0 {
		remove()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(changes), "changes")
	b.ReportMetric(float64(answers.Load())/elapsed, "req/s")
	b.ReportMetric(float64(answers.Load()), "existing-answers")
	b.ReportMetric(float64(wrong.Load()), "existing-wrong")
	b.ReportMetric(float64(newAnswers.Load()), "new-answers")
	b.ReportMetric(float64(newWrong.Load()), "new-wrong")
}

// Phases of a server that is added and deleted, as its prober knows them.
const (
	// probeComing: not there, or being added.
	probeComing = iota
	probeThere
	// probeGoing: being deleted.
	probeGoing
	probeGone
)

// prober asks one server over one connection without a pause.
type prober struct {
	name           string
	phase          atomic.Int32
	answers, wrong *atomic.Int64
	stop           chan struct{}
	done           sync.WaitGroup
}

func (p *prober) start(b *testing.B, address, request string) {
	p.stop = make(chan struct{})
	asked := make(chan struct{})
	p.done.Go(func() {
		k, data := &benchConn{address: address}, []byte(request)
		defer k.close()
		seen := probeComing
		for first := true; ; first = false {
			select {
			case <-p.stop:
				return
			default:
			}
			before := p.phase.Load()
			status := k.do(data)
			after := p.phase.Load()
			p.answers.Add(1)
			ok := false
			switch status {
			case "404":
				// Before the change is accepted, or after the next has begun.
				ok = before == probeComing && seen == probeComing || after >= probeGoing
				if after >= probeGoing {
					seen = probeGone
				}
			case "200":
				ok = before <= probeGoing && seen != probeGone
				seen = max(seen, probeThere)
			}
			if !ok && p.wrong.Add(1) <= 10 {
				b.Logf("new server %s answers %q in phase %d to %d", p.name, status, before, after)
			}
			if first {
				close(asked)
			}
		}
	})
	<-asked
}

// finish ends the prober after it has seen the end of the server.
func (p *prober) finish() {
	close(p.stop)
	p.done.Wait()
}
