package command

import (
	"context"
	"sync"
)

// progress is a revision that only grows and can be waited for.
type progress struct {
	mu      sync.Mutex
	at      int64
	changed chan struct{}
}

func newProgress() *progress { return &progress{changed: make(chan struct{})} }

func (p *progress) revision() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

func (p *progress) reach(revision int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if revision > p.at {
		p.at = revision
		close(p.changed)
		p.changed = make(chan struct{})
	}
}

// wait returns when the revision has been reached, or ctx's error.
func (p *progress) wait(ctx context.Context, revision int64) error {
	for {
		p.mu.Lock()
		at, changed := p.at, p.changed
		p.mu.Unlock()
		if at >= revision {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
