package ads

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// targets are the clusters that a server's scope leads to, oldest first.
func targets(t testing.TB, s *Server, name string) []string {
	t.Helper()
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, ok := s.catalog.logs[scopes].get(name)
	if !ok {
		return nil
	}
	return clustersIn(r.res.GetResource().GetValue())
}

func wantTargets(t testing.TB, s *Server, name string, want ...string) {
	t.Helper()
	if got := targets(t, s, name); !slices.Equal(got, want) {
		t.Errorf("%s leads to %q, want %q", name, got, want)
	}
}

func TestGenerationsStandSideBySideForTheGraceTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1, mcp("a", 1, 1, "/one"))
		p := started(t, s)
		defer p.hangUp()

		s.Apply(put(mcp("a", 2, 2, "/two")))
		wantLines(t, p.drain(), "CDS +s-a@2", "SRDS +a")
		wantTargets(t, s, "a", "s-a@1", "s-a@2")

		time.Sleep(DefaultGrace / 2) //nolint:forbidigo // the bubble's clock
		s.Apply(put(mcp("a", 3, 3, "/three")))
		wantLines(t, p.drain(), "CDS +s-a@3", "SRDS +a")
		wantTargets(t, s, "a", "s-a@1", "s-a@2", "s-a@3")

		time.Sleep(DefaultGrace/2 - time.Millisecond) //nolint:forbidigo // the bubble's clock
		wantLines(t, p.drain())
		time.Sleep(time.Millisecond) //nolint:forbidigo // the bubble's clock
		rs := p.receive()
		// The old cluster waits for the acknowledgement.
		wantLines(t, lines(rs), "SRDS +a")
		wantTargets(t, s, "a", "s-a@2", "s-a@3")
		p.in <- ack(rs[0])
		wantLines(t, p.drain(), "CDS -s-a@1")

		time.Sleep(DefaultGrace / 2) //nolint:forbidigo // the bubble's clock
		wantLines(t, p.drain(), "SRDS +a", "CDS -s-a@2")
		wantTargets(t, s, "a", "s-a@3")
	})
}

func TestDeleteInTheGraceTimeTakesAllGenerations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1, mcp("a", 1, 1, "/one"))
		p := started(t, s)
		defer p.hangUp()
		s.Apply(put(mcp("a", 2, 2, "/two")))
		p.drain()
		s.Apply(drop(3, "a"))
		wantLines(t, p.drain(), "SRDS -a", "CDS -s-a@1 -s-a@2")
		s.Apply(put(mcp("a", 4, 4, "/two")))
		wantLines(t, p.drain(), "CDS +s-a@4", "SRDS +a")
		wantTargets(t, s, "a", "s-a@4")
		time.Sleep(2 * DefaultGrace) //nolint:forbidigo // the bubble's clock
		wantLines(t, p.drain())
	})
}

func TestGenerationsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1, mcp("a", 1, 1, "/mcp"))
		p := started(t, s)
		defer p.hangUp()
		for g := range int64(20) {
			s.Apply(put(mcp("a", g+2, g+2, "/mcp")))
			p.drain()
		}
		if n := len(targets(t, s, "a")); n != maxRetiring+1 {
			t.Errorf("%d generations", n)
		}
		time.Sleep(DefaultGrace) //nolint:forbidigo // the bubble's clock
		p.drain()
		wantTargets(t, s, "a", "s-a@21")
		if got := versions(s, clusters); len(got) != 1 {
			t.Errorf("clusters %v", got)
		}
	})
}

func TestLoadServesCurrentGenerationsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 5, mcp("a", 5, 5, "/mcp"))
		wantTargets(t, s, "a", "s-a@5")
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, ok := s.catalog.due(); ok {
			t.Error("a grace time has begun")
		}
	})
}

func TestLoadAgainAppliesTheDifference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 5, mcp("a", 1, 1, "/mcp"), mcp("b", 2, 2, "/mcp"))
		p := started(t, s)
		defer p.hangUp()
		mustLoad(t, s, 9, mcp("a", 8, 8, "/other"), mcp("c", 9, 9, "/mcp"))
		wantLines(t, p.drain(), "CDS +s-a@8 +s-c@9", "SRDS -b", "SRDS +a +c", "CDS -s-b@2")
		wantTargets(t, s, "a", "s-a@1", "s-a@8")
	})
}

func TestInvalidServerKeepsTheLastGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1, mcp("a", 1, 1, "/mcp"))
		p := started(t, s)
		defer p.hangUp()
		bad := mcp("a", 2, 2, "/mcp")
		bad.Upstream.URL = "gopher://127.0.0.1"
		healthz := mcp("healthz", 2, 2, "/mcp")
		s.Apply(put(bad, healthz, mcp("b", 2, 2, "/mcp")))
		wantLines(t, p.drain(), "CDS +s-b@2", "SRDS +b")
		wantTargets(t, s, "a", "s-a@1")
		st := s.Status()
		if len(st.Rejections) != 2 || st.Rejections[0].Server != "a" || st.Rejections[0].Node != "" || st.Rejections[0].Revision != 2 {
			t.Errorf("rejections %+v", st.Rejections)
		}
		s.Apply(put(mcp("a", 3, 3, "/mcp")))
		s.Apply(drop(4, "healthz"))
		wantLines(t, p.drain(), "CDS +s-a@3", "SRDS +a")
		if st := s.Status(); len(st.Rejections) != 0 {
			t.Errorf("rejections %+v", st.Rejections)
		}
	})
}
