package ads

import (
	"testing"
	"testing/synctest"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/registry"
)

// started is a stream that has subscribed as Envoy does and acknowledged all.
func started(t testing.TB, s *Server) *pipe {
	t.Helper()
	p := dial(t, s)
	for _, k := range []kind{clusters, listeners, scopes} {
		p.in <- ask(k, nil)
		p.drain()
	}
	return p
}

// drain acknowledges all there is, and says what that was.
func (p *pipe) drain() []string {
	var lines []string
	for r := p.next(); r != nil; r = p.next() {
		lines = append(lines, line(r))
		p.in <- ack(r)
	}
	return lines
}

// receive takes all there is without an answer.
func (p *pipe) receive() []*discoveryv3.DeltaDiscoveryResponse {
	var out []*discoveryv3.DeltaDiscoveryResponse
	for r := p.next(); r != nil; r = p.next() {
		out = append(out, r)
	}
	return out
}

func lines(rs []*discoveryv3.DeltaDiscoveryResponse) []string {
	var out []string
	for _, r := range rs {
		out = append(out, line(r))
	}
	return out
}

func wantLines(t testing.TB, got []string, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("sent (-want +got):\n%s", d)
	}
}

func TestFirstSyncIsWholeAndHealthzLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 7, mcp("a", 1, 1, "/mcp"), mcp("b", 2, 2, "/mcp"))
		p := dial(t, s)
		defer p.hangUp()

		p.in <- ask(clusters, nil)
		wantLines(t, p.drain(), "CDS +s-a@1 +s-b@2")
		p.in <- ask(listeners, nil, "*")
		wantLines(t, p.drain(), "LDS +mcp")
		p.in <- ask(scopes, nil)
		first := p.receive()
		wantLines(t, lines(first), "SRDS +.well-known +a +b")
		p.in <- ack(first[0])
		wantLines(t, p.drain(), "SRDS +healthz")
		wantLines(t, p.drain())
	})
}

func TestEmptyRegistryStillAnswersForClusters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 0)
		p := dial(t, s)
		defer p.hangUp()
		p.in <- ask(clusters, nil)
		wantLines(t, p.drain(), "CDS")
	})
}

func TestNothingIsSentBeforeTheFirstLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		p := dial(t, s)
		defer p.hangUp()
		p.in <- ask(clusters, map[string]string{"s-a@1": "x"})
		p.in <- ask(scopes, map[string]string{"a": "x"})
		wantLines(t, p.drain())
		mustLoad(t, s, 1, mcp("a", 1, 1, "/mcp"))
		wantLines(t, p.drain(), "CDS +s-a@1", "SRDS +.well-known +a", "SRDS +healthz")
	})
}

func TestAddIsClusterThenScopeWithoutWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1)
		p := started(t, s)
		defer p.hangUp()
		for i, name := range []string{"a", "b", "c"} {
			s.Apply(put(mcp(name, int64(i+2), int64(i+2), "/mcp")))
			synctest.Wait()
		}
		// No answer was given to any of these.
		rs := p.receive()
		wantLines(t, lines(rs),
			"CDS +s-a@2", "SRDS +a",
			"CDS +s-b@3 +s-c@4", "SRDS +b +c")
	})
}

func TestDeleteWaitsForTheScopesAckOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1, mcp("a", 1, 1, "/mcp"))
		p := started(t, s)
		defer p.hangUp()
		s.Apply(put(mcp("b", 2, 2, "/mcp")))
		// The acknowledgement of b's cluster never comes: it is warming.
		rs := p.receive()
		wantLines(t, lines(rs), "CDS +s-b@2", "SRDS +b")
		p.in <- ack(rs[1])

		s.Apply(drop(3, "a"))
		rs = p.receive()
		wantLines(t, lines(rs), "SRDS -a")
		s.Apply(put(mcp("c", 4, 4, "/mcp")))
		later := p.receive()
		wantLines(t, lines(later), "CDS +s-c@4", "SRDS +c")
		p.in <- ack(rs[0])
		wantLines(t, p.drain(), "CDS -s-a@1")
	})
}

func TestDisableRemovesAndEnableBringsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		on := mcp("a", 1, 1, "/mcp")
		mustLoad(t, s, 1, on)
		p := started(t, s)
		defer p.hangUp()
		off := mcp("a", 1, 2, "/mcp")
		off.Enabled = new(bool)
		s.Apply(put(off))
		wantLines(t, p.drain(), "SRDS -a", "CDS -s-a@1")
		s.Apply(put(mcp("a", 1, 3, "/mcp")))
		wantLines(t, p.drain(), "CDS +s-a@1", "SRDS +a")
	})
}

func TestEnableWhileTheRemovalIsHeldSendsNoCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1, mcp("a", 1, 1, "/mcp"))
		p := started(t, s)
		defer p.hangUp()
		off := mcp("a", 1, 2, "/mcp")
		off.Enabled = new(bool)
		s.Apply(put(off))
		rs := p.receive()
		wantLines(t, lines(rs), "SRDS -a")
		s.Apply(put(mcp("a", 1, 3, "/mcp")))
		later := p.receive()
		wantLines(t, lines(later), "SRDS +a")
		p.in <- ack(rs[0])
		p.in <- ack(later[0])
		wantLines(t, p.drain())
	})
}

func TestEqualContentIsNeverSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1, mcp("a", 1, 1, "/mcp"))
		p := started(t, s)
		defer p.hangUp()

		described := mcp("a", 1, 2, "/mcp")
		described.Description = "not for Envoy"
		s.Apply(put(described))
		wantLines(t, p.drain())
		mustLoad(t, s, 3, mcp("a", 1, 3, "/mcp"))
		wantLines(t, p.drain())

		// There and back while the stream is busy with something else.
		s.Apply(put(mcp("b", 4, 4, "/mcp")))
		synctest.Wait()
		slow := mcp("a", 1, 5, "/mcp")
		slow.Upstream.ConnectTimeout = registry.Duration(time.Second)
		s.Apply(put(slow))
		s.Apply(put(mcp("a", 1, 6, "/mcp")))
		s.Apply(put(mcp("c", 7, 7, "/mcp")))
		s.Apply(drop(8, "c"))
		wantLines(t, p.drain(), "CDS +s-b@4", "SRDS +b")
	})
}

func TestSlowEnvoyGetsEachNameOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1)
		p := started(t, s)
		defer p.hangUp()
		// The first change blocks in Send; a hundred more are found together.
		for i := range int64(101) {
			a := mcp("a", 1, i+2, "/mcp")
			a.Upstream.ConnectTimeout = registry.Duration(time.Second + time.Duration(i))
			s.Apply(put(a))
			synctest.Wait()
		}
		wantLines(t, p.drain(), "CDS +s-a@1", "SRDS +a", "CDS +s-a@1")
		for st := range s.streams {
			if n := len(st.subs[clusters].inflight); n != 0 {
				t.Errorf("%d responses are remembered", n)
			}
		}
	})
}
