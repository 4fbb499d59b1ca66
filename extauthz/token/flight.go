package token

import (
	"context"
	"runtime"
	"sync"

	"github.com/mcpgate/mcpgate/extauthz"
)

// maxQueued bounds the verifications that wait for a processor.
const maxQueued = 4096

// flights runs the arithmetic of signatures: the same token once at a time,
// and no more at a time than leaves half of the processors to known tokens. A
// flood of forged tokens then waits for itself, and is turned away when the
// queue is full.
type flights struct {
	slots chan struct{}

	mu     sync.Mutex
	flying map[flightKey]*flight
	queued int
}

// flightKey is the whole of what a signature check depends on: nothing is
// joined into a string that two different checks could share.
type flightKey struct {
	digest digest
	key    *key
}

type flight struct {
	done chan struct{}
	// result is nil when the signature holds.
	result *Error
	// abandoned: it was given up before there was a result.
	abandoned bool
}

func newFlights() *flights {
	return &flights{
		slots:  make(chan struct{}, max(runtime.GOMAXPROCS(0)/2, 1)),
		flying: make(map[flightKey]*flight),
	}
}

// verify is the result of check for k: its own, or that of one which is
// already running; or that there is none, because the queue is full or ctx
// ended.
func (f *flights) verify(ctx context.Context, k flightKey, check func() *Error) *Error {
	for {
		f.mu.Lock()
		if f.queued >= maxQueued {
			f.mu.Unlock()
			return unavailablef(extauthz.RuleOverload, "more than %d signatures wait", maxQueued)
		}
		f.queued++
		other, running := f.flying[k]
		var own *flight
		if !running {
			own = &flight{done: make(chan struct{}), abandoned: true}
			f.flying[k] = own
		}
		f.mu.Unlock()

		if !running {
			return f.lead(ctx, k, own, check)
		}
		select {
		case <-other.done:
		case <-ctx.Done():
		}
		f.mu.Lock()
		f.queued--
		f.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return unavailablef(extauthz.RuleOverload, "waiting for the signature: %v", err)
		}
		if !other.abandoned {
			return other.result
		}
	}
}

func (f *flights) lead(ctx context.Context, k flightKey, own *flight, check func() *Error) *Error {
	// Also when check panics: those who wait must not wait for ever.
	defer func() {
		f.mu.Lock()
		f.queued--
		delete(f.flying, k)
		f.mu.Unlock()
		close(own.done)
	}()
	select {
	case f.slots <- struct{}{}:
	case <-ctx.Done():
		return unavailablef(extauthz.RuleOverload, "waiting for a processor: %v", ctx.Err())
	}
	defer func() { <-f.slots }()
	own.result = check()
	own.abandoned = false
	return own.result
}
