package ads

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// versions is what an Envoy that has everything lists when it reconnects.
func versions(s *Server, k kind) map[string]string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make(map[string]string)
	for name, r := range s.catalog.logs[k].names {
		if r.res != nil {
			out[name] = r.version()
		}
	}
	return out
}

func TestReconnectSendsNothingWhenEqual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 7, many(100)...)
		// The versions are those of another replica, or of an earlier run.
		other := mustNew(t)
		mustLoad(t, other, 9, reversed(many(100))...)
		if err := other.SetCertificate(testPair(t)); err != nil {
			t.Fatal(err)
		}
		p := dial(t, s)
		defer p.hangUp()
		for _, k := range []kind{clusters, listeners, scopes} {
			p.in <- ask(k, versions(other, k))
			wantLines(t, p.drain())
		}
	})
}

func TestReconnectSendsTheDifference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 7, mcp("a", 1, 1, "/mcp"), mcp("b", 2, 2, "/mcp"), mcp("gone", 3, 3, "/mcp"))
		have := map[kind]map[string]string{clusters: versions(s, clusters), listeners: versions(s, listeners), scopes: versions(s, scopes)}

		now := mustNew(t)
		mustLoad(t, now, 9, mcp("a", 1, 1, "/mcp"), mcp("b", 8, 8, "/other"), mcp("new", 9, 9, "/mcp"))
		p := dial(t, now)
		defer p.hangUp()
		p.in <- ask(clusters, have[clusters])
		wantLines(t, p.drain(), "CDS +s-b@8 +s-new@9")
		p.in <- ask(listeners, have[listeners])
		wantLines(t, p.drain())
		p.in <- ask(scopes, have[scopes])
		rs := p.receive()
		wantLines(t, lines(rs), "SRDS -gone", "SRDS +b +new")
		p.in <- ack(rs[0])
		wantLines(t, p.drain())
		p.in <- ack(rs[1])
		wantLines(t, p.drain(), "CDS -s-b@2 -s-gone@3")
	})
}

func TestReconnectBeforeHealthzStillGetsItLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 7, mcp("a", 1, 1, "/mcp"))
		have := versions(s, scopes)
		delete(have, "healthz")
		p := dial(t, s)
		defer p.hangUp()
		p.in <- ask(clusters, versions(s, clusters))
		p.in <- ask(scopes, have)
		wantLines(t, p.drain(), "SRDS +healthz")
	})
}

func TestRemovalsMadeBeforeAreNotHeldForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1)
		p := started(t, s)
		defer p.hangUp()
		for i := range int64(4 * keepGone) {
			name := fmt.Sprintf("x%d", i)
			s.Apply(put(mcp(name, i+2, i+2, "/mcp")))
			s.Apply(drop(i+2, name))
			p.drain()
		}
		s.mu.RLock()
		defer s.mu.RUnlock()
		for _, k := range []kind{clusters, scopes} {
			if n := s.catalog.logs[k].gone.len; n > 2*keepGone {
				t.Errorf("%s: %d removals are kept", k, n)
			}
		}
	})
}

func TestStreamTooFarBehindIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1)
		// It never asks for scopes, so no removal of a cluster can be sent.
		p := dial(t, s)
		p.in <- ask(clusters, nil)
		p.drain()
		c := s.catalog
		s.mu.Lock()
		for i := range maxGone + keepGone {
			ct := content{name: fmt.Sprintf("s-x%d@1", i), version: "v"}
			c.put(clusters, ct, 1)
			c.remove(clusters, ct.name, 1)
			c.logs[clusters].compact(func() uint64 { return s.oldest(clusters) })
		}
		if n := c.logs[clusters].gone.len; n > maxGone {
			t.Errorf("%d removals are kept", n)
		}
		s.published(0)
		s.mu.Unlock()
		synctest.Wait()
		if err := <-p.ended; status.Code(err) != codes.Unavailable {
			t.Errorf("stream ended with %v", err)
		}
	})
}

func TestVersionsAreShortAndStable(t *testing.T) {
	t.Parallel()
	a, b := mustNew(t), mustNew(t)
	mustLoad(t, a, 1, many(50)...)
	mustLoad(t, b, 2, many(50)...)
	for k := range kinds {
		va, vb := versions(a, k), versions(b, k)
		if !maps.Equal(va, vb) {
			t.Errorf("%s: versions differ", k)
		}
		for name, v := range va {
			if len(v) != 12 {
				t.Errorf("%s: version %q", name, v)
			}
		}
	}
}

func reversed[T any](list []T) []T {
	slices.Reverse(list)
	return list
}
