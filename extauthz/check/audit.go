package check

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"
)

// maxQueued is how many bytes of lines may wait for the writer: some ten
// thousand decisions.
const maxQueued = 4 << 20

// AuditWriter writes records as JSON lines. A check never waits for the disk:
// its line is put into a bounded queue that a goroutine writes out, all that
// waits in one write. When the queue is full, lines are dropped and counted,
// and the next line that fits is preceded by
//
//	{"time":"…","dropped":17}
//
// so that a reader knows what is missing.
type AuditWriter struct {
	w    io.Writer
	log  *slog.Logger
	wake chan struct{}
	done chan struct{}

	mu sync.Mutex
	// queue holds whole lines, count of them.
	queue []byte
	count int64
	// dropped lines since the last that were reported; lost is their total.
	dropped, lost int64
	closed        bool
}

// NewAuditWriter starts a writer to w. Errors of w are logged, once for each
// time that it stops working.
func NewAuditWriter(w io.Writer, log *slog.Logger) *AuditWriter {
	a := &AuditWriter{w: w, log: log, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go a.run()
	return a
}

// Record queues one line. It is meant as Config.Audit.
func (a *AuditWriter) Record(r Record) {
	a.mu.Lock()
	if a.closed || len(a.queue) >= maxQueued {
		a.dropped++
		a.lost++
		a.mu.Unlock()
		return
	}
	if a.dropped > 0 {
		a.queue = appendDropped(a.queue, r.Time, a.dropped)
		a.dropped = 0
	}
	a.queue = append(r.AppendJSON(a.queue), '\n')
	a.count++
	a.mu.Unlock()
	a.signal()
}

// Dropped is the number of records that were not written, for whatever reason.
func (a *AuditWriter) Dropped() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lost
}

// Close writes what waits and stops the writer. It does not close w. Records
// that come later are dropped.
func (a *AuditWriter) Close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.signal()
	<-a.done
}

func (a *AuditWriter) signal() {
	select {
	case a.wake <- struct{}{}:
	default: // it will see this line as well
	}
}

func (a *AuditWriter) run() {
	defer close(a.done)
	var lines []byte
	var failing, torn bool
	for range a.wake {
		a.mu.Lock()
		a.queue, lines = lines[:0], a.queue
		count, closed := a.count, a.closed
		a.count = 0
		if closed && a.dropped > 0 {
			lines = appendDropped(lines, time.Now(), a.dropped)
			a.dropped = 0
		}
		a.mu.Unlock()

		if len(lines) > 0 {
			if torn {
				// The end of a line that could not be written whole.
				lines = slices.Insert(lines, 0, '\n')
			}
			n, err := a.w.Write(lines)
			if n > 0 && n <= len(lines) {
				torn = lines[n-1] != '\n'
			}
			if err != nil {
				a.mu.Lock()
				a.dropped += count
				a.lost += count
				a.mu.Unlock()
				if !failing {
					a.log.ErrorContext(context.Background(), "audit lines lost", "error", err)
				}
			}
			failing = err != nil
		}
		if closed {
			return
		}
	}
}

func appendDropped(b []byte, t time.Time, n int64) []byte {
	b = append(b, `{"time":"`...)
	b = t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z07:00")
	b = append(b, `","dropped":`...)
	b = strconv.AppendInt(b, n, 10)
	return append(b, '}', '\n')
}
