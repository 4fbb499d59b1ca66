package ads

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Report says what became of a revision.
type Report struct {
	// Envoys is how many Envoys have acknowledged it.
	Envoys int
	// Rejected are the resources of exactly this revision that are not served
	// as the registry has them. Status has those of all revisions.
	Rejected []Rejection
}

// Wait returns when every Envoy that is connected now has acknowledged the
// scopes of everything up to the registry's revision. An Envoy that
// disconnects is no longer waited for. Acknowledgements of clusters are not
// waited for, since one cluster that is warming holds back all of them; a
// refused cluster is in the report when Envoy has refused it by then. The end
// of a grace time is not waited for either.
//
// With no Envoy connected it returns at once. When ctx ends first, the error
// is that of ctx and the report tells how many Envoys were in time. It returns
// ErrClosed when the server is closed.
func (s *Server) Wait(ctx context.Context, revision int64) (Report, error) {
	w, err := s.await(ctx, revision)
	if w == nil {
		return s.report(0, revision), err
	}
	select {
	case <-w.done:
		acked, _ := w.count()
		return s.report(acked, revision), nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-s.done:
		err = ErrClosed
	}
	s.abandon(w)
	acked, left := w.count()
	return s.report(acked, revision), fmt.Errorf("wait for revision %d: %d of %d envoys have acknowledged it: %w", revision, acked, acked+left, err)
}

// await registers a waiter with all streams, once the revision is applied. It
// is nil when there is no stream.
func (s *Server) await(ctx context.Context, revision int64) (*waiter, error) {
	for {
		s.mu.Lock()
		if len(s.streams) == 0 {
			s.mu.Unlock()
			return nil, nil
		}
		if s.revision >= revision {
			w := s.watch()
			s.mu.Unlock()
			return w, nil
		}
		advanced := s.advanced
		s.mu.Unlock()
		select {
		case <-advanced:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for revision %d to be applied: %w", revision, ctx.Err())
		case <-s.done:
			return nil, fmt.Errorf("wait for revision %d to be applied: %w", revision, ErrClosed)
		}
	}
}

// watch asks every stream for the current end of the log. The caller holds the
// lock.
func (s *Server) watch() *waiter {
	w := &waiter{target: s.catalog.seq, left: len(s.streams), done: make(chan struct{})}
	for st := range s.streams {
		st.mu.Lock()
		at, ok := st.accepted()
		ok = ok && at.seq >= w.target
		if !ok {
			st.waiters = append(st.waiters, w)
		}
		st.mu.Unlock()
		if ok {
			w.settle(true)
		}
	}
	return w
}

// abandon takes the waiter from the streams that it still waits for.
func (s *Server) abandon(w *waiter) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for st := range s.streams {
		st.mu.Lock()
		st.waiters = slices.DeleteFunc(st.waiters, func(o *waiter) bool { return o == w })
		st.mu.Unlock()
	}
}

func (s *Server) report(envoys int, revision int64) Report {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := Report{Envoys: envoys}
	for _, rej := range s.catalog.rejections() {
		if rej.Revision == revision {
			r.Rejected = append(r.Rejected, rej)
		}
	}
	return r
}

// waiter waits for several streams to reach one position.
type waiter struct {
	target uint64
	done   chan struct{} // closed when none is left

	mu          sync.Mutex
	acked, left int
}

// settle counts one stream out: it has reached the position, or has ended.
func (w *waiter) settle(acked bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if acked {
		w.acked++
	}
	if w.left--; w.left == 0 {
		close(w.done)
	}
}

func (w *waiter) count() (acked, left int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acked, w.left
}
