package token

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/mcpgate/mcpgate/extauthz"
)

func TestTheSameTokenIsVerifiedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFlights()
		release := make(chan struct{})
		var runs atomic.Int64
		refusal := refusef(extauthz.RuleTokenSignature, "no")
		results := make(chan *Error, 50)
		for range 50 {
			go func() {
				results <- f.verify(t.Context(), flightKey{digest: digest{7}}, func() *Error {
					runs.Add(1)
					<-release
					return refusal
				})
			}()
		}
		synctest.Wait()
		close(release)
		for range 50 {
			if err := <-results; err != refusal {
				t.Errorf("got %v", err)
			}
		}
		if n := runs.Load(); n != 1 {
			t.Errorf("%d runs", n)
		}
		if f.queued != 0 || len(f.flying) != 0 {
			t.Errorf("%d queued, %d flying after all", f.queued, len(f.flying))
		}
	})
}

func TestDifferentTokensAndKeysAreNotJoined(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFlights()
		release := make(chan struct{})
		keys := []flightKey{{digest: digest{1}}, {digest: digest{2}}, {digest: digest{1}, key: &key{}}}
		results := make([]*Error, len(keys))
		for i, k := range keys {
			go func() {
				results[i] = f.verify(t.Context(), k, func() *Error {
					<-release
					return refusef(extauthz.RuleTokenSignature, "%d", i)
				})
			}()
		}
		synctest.Wait()
		close(release)
		synctest.Wait()
		for i, err := range results {
			if err == nil || err.Reason != string(rune('0'+i)) {
				t.Errorf("%d got %v", i, err)
			}
		}
	})
}

// TestAFloodOfForgedTokensWaitsForItself: no more run at once than there are
// slots, and who waits leaves with its context.
func TestAFloodOfForgedTokensWaitsForItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFlights()
		release := make(chan struct{})
		var running, most atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan *Error, 500)
		for i := range 500 {
			go func() {
				done <- f.verify(ctx, flightKey{digest: digest{byte(i), byte(i >> 8)}}, func() *Error {
					most.Store(max(most.Load(), running.Add(1)))
					<-release
					running.Add(-1)
					return nil
				})
			}()
		}
		synctest.Wait()
		if n := int(running.Load()); n != cap(f.slots) {
			t.Errorf("%d run at once, want %d", n, cap(f.slots))
		}
		cancel()
		synctest.Wait()
		if n := len(done); n != 500-cap(f.slots) {
			t.Errorf("%d have left, want %d", n, 500-cap(f.slots))
		}
		close(release)
		for range 500 {
			if err := <-done; err != nil && (err.Rule != extauthz.RuleOverload || !err.Unavailable) {
				t.Errorf("got %v", err)
			}
		}
		if n := int(most.Load()); n > cap(f.slots) {
			t.Errorf("%d at once", n)
		}
	})
}

func TestTheQueueIsBounded(t *testing.T) {
	t.Parallel()
	f := newFlights()
	f.queued = maxQueued
	err := f.verify(t.Context(), flightKey{}, func() *Error { t.Error("run"); return nil })
	if err == nil || err.Rule != extauthz.RuleOverload || !err.Unavailable {
		t.Errorf("got %v", err)
	}
}

// TestAnAbandonedFlightIsTakenOver: the first who asked goes away before there
// was a result; the others must get one all the same.
func TestAnAbandonedFlightIsTakenOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFlights()
		for range cap(f.slots) {
			f.slots <- struct{}{} // busy
		}
		ctx, cancel := context.WithCancel(t.Context())
		first, second := make(chan *Error, 1), make(chan *Error, 1)
		go func() { first <- f.verify(ctx, flightKey{}, func() *Error { return nil }) }()
		synctest.Wait()
		ran := false
		go func() {
			second <- f.verify(t.Context(), flightKey{}, func() *Error { ran = true; return nil })
		}()
		synctest.Wait()
		cancel()
		if err := <-first; err == nil || err.Rule != extauthz.RuleOverload {
			t.Errorf("the first got %v", err)
		}
		synctest.Wait()
		<-f.slots
		if err := <-second; err != nil || !ran {
			t.Errorf("the second got %v, ran %t", err, ran)
		}
	})
}

func TestAPanicInAFlightLeavesNobodyWaiting(t *testing.T) {
	t.Parallel()
	f := newFlights()
	func() {
		defer func() { _ = recover() }()
		_ = f.verify(t.Context(), flightKey{}, func() *Error { panic("x") })
		t.Error("no panic")
	}()
	if err := f.verify(t.Context(), flightKey{}, func() *Error { return nil }); err != nil {
		t.Errorf("got %v", err)
	}
	if f.queued != 0 || len(f.slots) != 0 {
		t.Errorf("%d queued, %d slots taken", f.queued, len(f.slots))
	}
}
