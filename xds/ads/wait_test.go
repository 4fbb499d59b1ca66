package ads

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpgate/mcpgate/registry"
)

// waiting runs Wait beside the test.
func waiting(ctx context.Context, s *Server, revision int64) func() (Report, error, bool) {
	type result struct {
		report Report
		err    error
	}
	done := make(chan result, 1)
	go func() {
		r, err := s.Wait(ctx, revision)
		done <- result{r, err}
	}()
	return func() (Report, error, bool) {
		synctest.Wait()
		select {
		case r := <-done:
			return r.report, r.err, true
		default:
			return Report{}, nil, false
		}
	}
}

func TestWaitReturnsAtOnceWithoutEnvoys(t *testing.T) {
	t.Parallel()
	s := mustNew(t)
	if r, err := s.Wait(t.Context(), 99); err != nil || r.Envoys != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestWaitIsForEveryConnectedEnvoyToAckTheScopes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1)
		p, q := started(t, s), started(t, s)
		defer p.hangUp()
		defer q.hangUp()

		poll := waiting(soon(t), s, 2)
		if _, _, ok := poll(); ok {
			t.Fatal("returned before the revision was applied")
		}
		s.Apply(put(mcp("a", 2, 2, "/mcp")))
		rp, rq := p.receive(), q.receive()
		p.in <- ack(rp[1]) // not the cluster's
		if _, _, ok := poll(); ok {
			t.Fatal("returned before the second Envoy had acknowledged")
		}
		st := s.Status()
		if a, b := st.Envoys[0].Revision, st.Envoys[1].Revision; a+b != 3 || !st.Envoys[0].Duplicate {
			t.Errorf("status %+v", st.Envoys)
		}
		// A later change and a later Envoy are not waited for.
		s.Apply(put(mcp("b", 3, 3, "/mcp")))
		late := dial(t, s)
		defer late.hangUp()
		late.in <- ask(clusters, nil)
		q.in <- ack(rq[1])
		r, err, ok := poll()
		if !ok || err != nil || r.Envoys != 2 {
			t.Errorf("%+v, %v, %v", r, err, ok)
		}
		p.receive()
		q.receive()
		late.receive()
	})
}

func TestWaitDoesNotCountAnEnvoyThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1)
		p, q := started(t, s), started(t, s)
		defer p.hangUp()
		s.Apply(put(mcp("a", 2, 2, "/mcp")))
		poll := waiting(soon(t), s, 2)
		p.drain()
		if _, _, ok := poll(); ok {
			t.Fatal("returned too early")
		}
		q.hangUp()
		if r, err, ok := poll(); !ok || err != nil || r.Envoys != 1 {
			t.Errorf("%+v, %v, %v", r, err, ok)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1)
		p, q := started(t, s), started(t, s)
		defer p.hangUp()
		defer q.hangUp()
		s.Apply(put(mcp("a", 2, 2, "/mcp")))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p.drain()
		r, err := s.Wait(ctx, 2)
		if !errors.Is(err, context.DeadlineExceeded) || r.Envoys != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		for st := range s.streams {
			if len(st.waiters) > 0 {
				t.Error("a waiter was left behind")
			}
		}
		if _, err := s.Wait(ctx, 3); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("not applied: %v", err)
		}
		q.drain()
	})
}

func TestWaitEndsWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1)
		p := started(t, s)
		poll := waiting(soon(t), s, 2)
		synctest.Wait()
		s.Close()
		if _, err, ok := poll(); !ok || !errors.Is(err, ErrClosed) {
			t.Errorf("%v, %v", err, ok)
		}
		if err := <-p.ended; err == nil {
			t.Error("the stream ended well")
		}
	})
}

func TestWaitCoversTheHealingAndReportsTheBadOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1)
		p := started(t, s)
		defer p.hangUp()
		s.Apply(put(mcp("old", 2, 2, "/mcp")))
		rs := p.receive()
		p.in <- nack(rs[1], "refused for itself")
		synctest.Wait()

		s.Apply(put(mcp("a", 3, 3, "/mcp"), mcp("bad", 3, 3, "/mcp")))
		poll := waiting(soon(t), s, 3)
		rs = p.receive()
		p.in <- nack(rs[1], "no")
		again := p.receive()
		if _, _, ok := poll(); ok {
			t.Fatal("returned before the healing")
		}
		p.in <- ack(again[0])
		p.in <- nack(again[1], "no")
		r, err, ok := poll()
		if !ok || err != nil || r.Envoys != 1 {
			t.Fatalf("%+v, %v, %v", r, err, ok)
		}
		// What an earlier revision left behind is not this one's matter.
		if len(r.Rejected) != 1 || r.Rejected[0].Name != "bad" {
			t.Errorf("rejected %+v", r.Rejected)
		}
	})
}

func TestWaitDoesNotWaitForTheGraceTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1, mcp("a", 1, 1, "/mcp"))
		p := started(t, s)
		defer p.hangUp()
		s.Apply(put(mcp("a", 2, 2, "/two")))
		p.drain()
		begin := time.Now()
		if r, err := s.Wait(soon(t), 2); err != nil || r.Envoys != 1 || time.Since(begin) > 0 {
			t.Errorf("%+v, %v after %s", r, err, time.Since(begin))
		}
	})
}

// No answer comes where nothing is sent.
func TestWaitDoesNotNeedAnAnswerWhenNothingIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1, mcp("a", 1, 1, "/mcp"))
		p := dial(t, s)
		defer p.hangUp()
		p.in <- ask(clusters, versions(s, clusters))
		synctest.Wait()
		poll := waiting(soon(t), s, 1)
		if _, _, ok := poll(); ok {
			t.Fatal("returned before the Envoy asked for scopes")
		}
		p.in <- ask(scopes, versions(s, scopes))
		if r, err, ok := poll(); !ok || err != nil || r.Envoys != 1 {
			t.Errorf("%+v, %v, %v", r, err, ok)
		}

		// A change of the cluster alone: its acknowledgement is not needed.
		other := mcp("a", 1, 2, "/mcp")
		other.Upstream.ConnectTimeout = registry.Duration(time.Second)
		poll = waiting(soon(t), s, 2)
		synctest.Wait()
		s.Apply(put(other))
		rs := p.receive()
		wantLines(t, lines(rs), "CDS +s-a@1")
		if r, err, ok := poll(); !ok || err != nil || r.Envoys != 1 {
			t.Errorf("%+v, %v, %v", r, err, ok)
		}
	})
}
