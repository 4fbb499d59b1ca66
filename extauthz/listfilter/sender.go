package listfilter

import (
	"sync"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// sender is the sending half of a stream. The exchange sends; whoever ends the
// stream may send a refusal in its place, but never after it has begun.
type sender struct {
	stream extprocv3.ExternalProcessor_ProcessServer

	mu sync.Mutex
	// begun is true once anything was sent, ended once nothing may follow.
	begun, ended bool
}

// send sends one message of the reply.
func (s *sender) send(m *extprocv3.ProcessingResponse, last bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return errGone
	}
	s.begun, s.ended = true, last
	if err := s.stream.Send(m); err != nil {
		return gone(err)
	}
	return nil
}

// refuse sends m if nothing was sent yet and reports whether it did. It does
// not block: a first message always finds room in the stream's window, and a
// send that is under way means that it is too late.
func (s *sender) refuse(m *extprocv3.ProcessingResponse) bool {
	if !s.mu.TryLock() {
		return false
	}
	defer s.mu.Unlock()
	if s.begun || s.ended {
		return false
	}
	s.begun, s.ended = true, true
	return s.stream.Send(m) == nil
}

// isFinished reports whether the whole reply was sent.
func (s *sender) isFinished() bool {
	if !s.mu.TryLock() {
		return false
	}
	defer s.mu.Unlock()
	return s.ended
}

// watchdog is a deadline that is set anew for each step of an exchange.
type watchdog struct {
	timer *time.Timer
	step  time.Duration
}

func newWatchdog(step time.Duration) watchdog {
	return watchdog{timer: time.NewTimer(step), step: step}
}

// begin starts a step: it must end, or the next begin, within the deadline.
func (w watchdog) begin() { w.timer.Reset(w.step) }

// stop ends a step; the one that follows may take for ever.
func (w watchdog) stop() { w.timer.Stop() }

func (w watchdog) expired() <-chan time.Time { return w.timer.C }

// bodyWriter cuts a body into pieces for Envoy.
type bodyWriter struct {
	out   *sender
	watch watchdog
	piece []byte
}

// Write takes p over and sends each piece that is full.
func (w *bodyWriter) write(p []byte) error {
	for len(p) > 0 {
		if w.piece == nil {
			w.piece = make([]byte, 0, min(maxPiece, max(len(p), 4096)))
		}
		n := min(len(p), maxPiece-len(w.piece))
		w.piece = append(w.piece, p[:n]...)
		p = p[n:]
		if len(w.piece) == maxPiece && len(p) > 0 {
			if err := w.flush(false); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush sends what was written and not sent yet. An empty piece is sent only
// as the last one.
func (w *bodyWriter) flush(last bool) error {
	piece := w.piece
	if len(piece) == 0 && !last {
		return nil
	}
	// gRPC may look at a message after Send: each piece has its own memory.
	w.piece = nil
	w.watch.begin()
	return w.out.send(body(piece, last), last)
}
