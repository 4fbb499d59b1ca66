package ads

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"

	"github.com/mcpgate/mcpgate/registry"
)

func rejected(s *Server) []string {
	var out []string
	for _, r := range s.Status().Rejections {
		out = append(out, r.Type+" "+r.Name+" by "+r.Node+": "+r.Message)
	}
	return out
}

func contents(rs []*discoveryv3.DeltaDiscoveryResponse) map[string]string {
	out := make(map[string]string)
	for _, r := range rs {
		for _, res := range r.GetResources() {
			out[res.GetName()] = string(res.GetResource().GetValue())
		}
	}
	return out
}

func TestRefusedScopesAreSentAgainAloneWithOtherContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1)
		p := started(t, s)
		defer p.hangUp()
		s.Apply(put(mcp("a", 2, 2, "/mcp"), mcp("bad", 2, 2, "/mcp"), mcp("z", 2, 2, "/mcp")))
		rs := p.receive()
		wantLines(t, lines(rs), "CDS +s-a@2 +s-bad@2 +s-z@2", "SRDS +a +bad +z")
		before := contents(rs)
		p.in <- ack(rs[0])
		p.in <- nack(rs[1], "missing ]: [")
		again := p.receive()
		wantLines(t, lines(again), "SRDS +a", "SRDS +bad", "SRDS +z")
		for name, c := range contents(again) {
			if c == before[name] {
				t.Errorf("%s was sent with the same content", name)
			}
		}
		p.in <- ack(again[0])
		p.in <- nack(again[1], "missing ]: [")
		p.in <- ack(again[2])
		wantLines(t, p.drain())
		wantLines(t, rejected(s), "ScopedRouteConfiguration bad by gw-1: missing ]: [")

		// A new Envoy gets the good ones, all together, and not the bad one.
		q := dial(t, s)
		defer q.hangUp()
		q.in <- ask(scopes, nil)
		wantLines(t, q.drain(), "SRDS +.well-known +a +z", "SRDS +healthz")

		// Other content is tried again.
		s.Apply(put(mcp("bad", 3, 3, "/mcp")))
		wantLines(t, p.drain(), "CDS +s-bad@3", "SRDS +bad", "CDS -s-bad@2")
		wantLines(t, rejected(s))
	})
}

func TestScopeRefusedAloneIsQuarantinedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1)
		p := started(t, s)
		defer p.hangUp()
		s.Apply(put(mcp("bad", 2, 2, "/mcp")))
		rs := p.receive()
		p.in <- ack(rs[0])
		p.in <- nack(rs[1], "no\x00\n"+strings.Repeat("x", 2*maxMessage))
		wantLines(t, p.drain())
		st := s.Status()
		if len(st.Rejections) != 1 || st.Rejections[0].Server != "bad" || st.Rejections[0].Revision != 2 {
			t.Fatalf("rejections %+v", st.Rejections)
		}
		if m := st.Rejections[0].Message; len(m) > maxMessage || strings.ContainsAny(m, "\x00\n") {
			t.Errorf("message of %d bytes, %q…", len(m), m[:8])
		}
		// The same content again changes nothing, but it was asked for.
		s.Apply(put(mcp("bad", 2, 5, "/mcp")))
		wantLines(t, p.drain())
		report, err := s.Wait(soon(t), 5)
		if err != nil || len(report.Rejected) != 1 || report.Envoys != 1 {
			t.Errorf("report %+v, %v", report, err)
		}
		s.Apply(drop(6, "bad"))
		wantLines(t, p.drain(), "SRDS -bad", "CDS -s-bad@2")
		wantLines(t, rejected(s))
	})
}

func TestRefusedByManyEnvoysIsHealedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1)
		p, q := started(t, s), started(t, s)
		defer p.hangUp()
		defer q.hangUp()
		s.Apply(put(mcp("a", 2, 2, "/mcp"), mcp("b", 2, 2, "/mcp")))
		rp, rq := p.receive(), q.receive()
		p.in <- nack(rp[1], "no")
		wantLines(t, p.drain(), "SRDS +a", "SRDS +b")
		// The other one gets the new content, alone, and then says no to the old.
		wantLines(t, q.drain(), "SRDS +a", "SRDS +b")
		q.in <- nack(rq[1], "no")
		wantLines(t, q.drain())
		wantLines(t, p.drain())
	})
}

func TestRemovalsOfRefusedScopesWaitForTheHealing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1, mcp("a", 1, 1, "/mcp"), mcp("b", 1, 1, "/mcp"), mcp("gone", 1, 1, "/mcp"))
		p := started(t, s)
		defer p.hangUp()
		ev := put(mcp("a", 2, 2, "/two"), mcp("b", 2, 2, "/two"))
		ev.Changes = append(ev.Changes, drop(2, "gone").Changes...)
		s.Apply(ev)
		rs := p.receive()
		wantLines(t, lines(rs), "CDS +s-a@2 +s-b@2", "SRDS -gone", "SRDS +a +b")
		p.in <- ack(rs[1])
		p.in <- nack(rs[2], "no")
		again := p.receive()
		wantLines(t, lines(again), "SRDS +a", "SRDS +b")
		p.in <- ack(again[0])
		wantLines(t, p.drain())
		p.in <- ack(again[1])
		wantLines(t, p.drain(), "CDS -s-gone@1")
	})
}

func TestHealthzWaitsForTheHealingOfAFirstSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1, mcp("a", 1, 1, "/mcp"))
		p := dial(t, s)
		defer p.hangUp()
		p.in <- ask(scopes, nil)
		rs := p.receive()
		p.in <- nack(rs[0], "no")
		again := p.receive()
		wantLines(t, lines(again), "SRDS +.well-known", "SRDS +a")
		p.in <- ack(again[0])
		wantLines(t, p.drain())
		p.in <- ack(again[1])
		wantLines(t, p.drain(), "SRDS +healthz")
	})
}

func TestRefusedClustersAreSentAgainOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1)
		p := started(t, s)
		defer p.hangUp()
		s.Apply(put(mcp("a", 2, 2, "/mcp"), mcp("bad", 2, 2, "/mcp"), mcp("z", 2, 2, "/mcp")))
		rs := p.receive()
		p.in <- nack(rs[0], "Proto constraint validation failed")
		p.in <- ack(rs[1])
		again := p.receive()
		wantLines(t, lines(again), "CDS +s-a@2", "CDS +s-bad@2", "CDS +s-z@2")
		wantLines(t, rejected(s), "Cluster  by gw-1: Proto constraint validation failed")
		p.in <- ack(again[0])
		p.in <- nack(again[1], "malformed")
		p.in <- ack(again[2])
		wantLines(t, p.drain())
		wantLines(t, rejected(s), "Cluster s-bad@2 by gw-1: malformed")
		// Nothing was sent to, and nothing is kept from, the others but the bad.
		q := dial(t, s)
		defer q.hangUp()
		q.in <- ask(clusters, nil)
		wantLines(t, q.drain(), "CDS +s-a@2 +s-z@2")
	})
}

func TestClustersNamedInARefusalAreReportedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1)
		p := started(t, s)
		defer p.hangUp()
		s.Apply(put(mcp("a", 2, 2, "/mcp"), mcp("bad", 2, 2, "/mcp")))
		rs := p.receive()
		p.in <- nack(rs[0], "Error adding/updating cluster(s) s-bad@2: malformed IP address")
		p.in <- ack(rs[1])
		report, err := s.Wait(soon(t), 2)
		if err != nil || len(report.Rejected) != 1 || report.Rejected[0].Server != "bad" {
			t.Errorf("report %+v, %v", report, err)
		}
		// The trial shows that it was a passing matter.
		wantLines(t, p.drain(), "CDS +s-a@2", "CDS +s-bad@2")
		synctest.Wait()
		wantLines(t, rejected(s))
	})
}

func TestRefusedListenerIsRecordedAndNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1)
		p := dial(t, s)
		defer p.hangUp()
		p.in <- ask(listeners, nil)
		rs := p.receive()
		p.in <- nack(rs[0], "cannot bind")
		wantLines(t, p.drain())
		wantLines(t, rejected(s), "Listener mcp by gw-1: cannot bind")
	})
}

func TestUnknownNoncesDoNoHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1, mcp("a", 1, 1, "/mcp"))
		p := started(t, s)
		fake := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: scopes.typeURL(), Nonce: "4711"}
		p.in <- ack(fake)
		p.in <- nack(fake, "what?")
		wantLines(t, p.drain())
		wantLines(t, rejected(s), "ScopedRouteConfiguration  by gw-1: what?")
		p.hangUp()
		wantLines(t, rejected(s))
	})
}

// A removal that an Envoy refuses, which none does, is not repeated.
func TestRefusedRemovalIsNoLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1, mcp("a", 1, 1, "/mcp"))
		p := started(t, s)
		defer p.hangUp()
		s.Apply(drop(2, "a"))
		rs := p.receive()
		p.in <- nack(rs[0], "no")
		wantLines(t, p.drain(), "CDS -s-a@1")
	})
}

func TestScopeThatCannotBeBuiltAgainIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := false
		s := mustNew(t, func(b *builders) {
			scope := b.scope
			b.scope = func(v []*registry.Server, rev uint64) (proto.Message, error) {
				if broken {
					return nil, errors.New("out of order")
				}
				return scope(v, rev)
			}
		})
		mustLoad(t, s, 1)
		p := started(t, s)
		defer p.hangUp()
		s.Apply(put(mcp("a", 2, 2, "/mcp"), mcp("b", 2, 2, "/mcp")))
		rs := p.receive()
		broken = true
		p.in <- nack(rs[1], "no")
		synctest.Wait()
		if got := rejected(s); len(got) != 2 || !strings.Contains(got[0], "out of order") {
			t.Errorf("rejections %q", got)
		}
	})
}
