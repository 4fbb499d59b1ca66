package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
)

// gate is a writer that waits for leave to write and can fail.
type gate struct {
	out     bytes.Buffer
	entered chan struct{}
	leave   chan error
}

func (g *gate) Write(b []byte) (int, error) {
	g.entered <- struct{}{}
	if err := <-g.leave; err != nil {
		g.out.Write(b[:len(b)/2])
		return len(b) / 2, err
	}
	return g.out.Write(b)
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func lines(t *testing.T, s string) (subjects []string, dropped float64) {
	t.Helper()
	for line := range strings.Lines(s) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			continue // torn
		}
		if n, ok := m["dropped"].(float64); ok {
			dropped += n
			continue
		}
		subjects = append(subjects, fmt.Sprint(m["subject"]))
	}
	return subjects, dropped
}

func TestAuditWriterWritesEveryLineInOrder(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	a := NewAuditWriter(&out, discard())
	for i := range 1000 {
		a.Record(Record{Subject: fmt.Sprint(i)})
	}
	a.Close()
	got, dropped := lines(t, out.String())
	if len(got) != 1000 || dropped != 0 || a.Dropped() != 0 {
		t.Fatalf("%d lines, %v and %d dropped; want 1000 and none", len(got), dropped, a.Dropped())
	}
	for i, s := range got {
		if s != fmt.Sprint(i) {
			t.Fatalf("line %d is of %s", i, s)
		}
	}
	a.Record(Record{}) // after Close: dropped, no panic
	a.Close()
	if a.Dropped() != 1 {
		t.Errorf("Dropped() = %d after a late record, want 1", a.Dropped())
	}
}

func TestAuditWriterDropsAndSaysSoWhenTheDiskIsSlow(t *testing.T) {
	t.Parallel()
	g := &gate{entered: make(chan struct{}), leave: make(chan error)}
	a := NewAuditWriter(g, discard())
	a.Record(Record{Subject: "first"})
	<-g.entered // the writer is stuck with the first line
	big := strings.Repeat("x", 8000)
	n := 0
	for ; a.Dropped() == 0; n++ {
		a.Record(Record{Subject: big})
	}
	if n > maxQueued/4000 {
		t.Fatalf("%d lines queued: the queue is not bounded", n)
	}
	a.Record(Record{Subject: big})
	g.leave <- nil
	<-g.entered
	g.leave <- nil
	a.Record(Record{Subject: "last"})
	<-g.entered
	g.leave <- nil
	a.Close()
	got, dropped := lines(t, g.out.String())
	if dropped != 2 || a.Dropped() != 2 || got[len(got)-1] != "last" {
		t.Errorf("%v reported, %d counted, last line %.10s; want 2, 2 and the last line", dropped, a.Dropped(), got[len(got)-1])
	}
}

func TestAuditWriterGoesOnAfterAWriteError(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	g := &gate{entered: make(chan struct{}), leave: make(chan error)}
	a := NewAuditWriter(g, slog.New(slog.NewTextHandler(&logged, nil)))
	for _, s := range []string{"lost", "lost too"} {
		a.Record(Record{Subject: s})
		<-g.entered
		g.leave <- errors.New("disk full")
	}
	a.Record(Record{Subject: "kept"})
	go func() {
		for range g.entered {
			g.leave <- nil
		}
	}()
	a.Close()
	close(g.entered)
	if n := strings.Count(logged.String(), "audit lines lost"); n != 1 {
		t.Errorf("logged %d times, want once: %s", n, logged.String())
	}
	if got, _ := lines(t, g.out.String()); len(got) == 0 || got[len(got)-1] != "kept" {
		t.Errorf("lines after the error: %q", got)
	}
}

func BenchmarkAudit(b *testing.B) {
	a := NewAuditWriter(io.Discard, discard())
	defer a.Close()
	r := Record{
		RequestID: "0d5e0e1c-9ad8-9b1c-8b66-000000000000", Server: "weather", Generation: 3, Verb: "POST", Method: "tools/call",
		Target: "get_forecast", Issuer: "corp", Subject: "alice", Client: "cli", Effect: EffectAllow, Rule: "granted",
	}
	b.ReportAllocs()
	for b.Loop() {
		a.Record(r)
	}
}
