package listfilter

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/google/go-cmp/cmp"
)

// TestStreamsOfOneCaller: a caller may have as many GET streams as the limit,
// on all servers together, and one more when one of them has ended. Others
// are not concerned, nor are replies that are not streams.
func TestStreamsOfOneCaller(t *testing.T) {
	t.Parallel()
	const limit = 3
	s := newServer(t, Config{MaxStreams: limit})
	c := dial(t, s)
	get := func(changes ...string) *extprocv3.ProcessingRequest {
		return start(about(append([]string{"inspect=resume", "method=", "id="}, changes...)...), false, ok, asEvents)
	}
	opened := func(first *extprocv3.ProcessingRequest) wire {
		t.Helper()
		w := open(t, c)
		w.send(first)
		if m := w.next(); m.GetResponseHeaders() == nil {
			t.Fatalf("the stream does not begin: %v", m)
		}
		return w
	}
	refusal := refused(429, failure("null", -32603, "Too many open streams."))
	refuses := func(first *extprocv3.ProcessingRequest) {
		t.Helper()
		w := open(t, c)
		w.send(first)
		if diff := cmp.Diff(refusal, w.receive(), cmp.AllowUnexported(answered{})); diff != "" {
			t.Errorf("above the limit (-want +got)\n%s", diff)
		}
	}

	var mine []wire
	for range limit {
		mine = append(mine, opened(get()))
	}
	refuses(get())
	for _, other := range []string{"issuer=other", "subject=bob", "client=editor", "client="} {
		opened(get(other)).cancel()
	}
	// A list and an upstream's refusal are no streams.
	w := open(t, c)
	w.send(start(about(), false, ok, asJSON), last(listed))
	if a := w.receive(); a.body != allowed {
		t.Errorf("a list: %+v", a)
	}
	w = open(t, c)
	w.send(start(about("inspect=resume", "method=", "id="), true, ":status= 405"))
	if a := w.receive(); a.immediate != 405 {
		t.Errorf("a refusal of the upstream: %+v", a)
	}

	// One of them ends as its upstream ends it, another because the client goes
	// away: both make room.
	mine[0].send(last(""))
	if m := mine[0].next(); !m.GetResponseBody().GetResponse().GetBodyMutation().GetStreamedResponse().GetEndOfStream() {
		t.Errorf("the end: %v", m)
	}
	mine[0].cancel()
	mine[1].cancel()
	for n := limit; n > 1; n, _ = s.streams.count() {
		if t.Context().Err() != nil {
			t.Fatal("the streams did not end")
		}
		runtime.Gosched()
	}
	opened(get())
	opened(get())
	refuses(get())

	m := s.Metrics()
	if m.Refused[string(reasonStreams)] != 2 || m.Streams != limit || m.Principals != 1 || m.Changed != 1 {
		t.Errorf("metrics %+v", m)
	}
}

// TestStreamsHoldNothingOfCallersWithoutOne: the table is as large as the
// streams are many, whoever comes.
func TestStreamsHoldNothingOfCallersWithoutOne(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{MaxStreams: 1})
	for i := range 1000 {
		treat(t, s, start(about("inspect=resume", "method=", "id=", fmt.Sprintf("subject=s%d", i)), false, ok, asEvents), last(""))
	}
	if total, principals := s.streams.count(); total != 0 || principals != 0 || len(s.streams.open) != 0 {
		t.Errorf("%d streams of %d principals are still counted", total, principals)
	}
	if m := s.Metrics(); m.Unchanged != 1000 || m.InFlight != 0 {
		t.Errorf("metrics %+v", m)
	}
}

// TestItemsAndBytesAtTheLimitAndAbove, over JSON and events.
func TestItemsAndBytesAtTheLimitAndAbove(t *testing.T) {
	t.Parallel()
	items := strings.Count(listed, `"name"`)
	for _, tc := range []struct {
		name   string
		config func(extra int) Config
		rule   reason
	}{
		{"items", func(extra int) Config { return Config{MaxItems: items + extra} }, reasonItems},
		{"bytes", func(extra int) Config { return Config{MaxReplyBytes: len(listed) + extra} }, reasonSize},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			at := newServer(t, tc.config(0))
			if got := treat(t, at, start(about(), false, ok, asJSON), last(listed)); got.body != allowed || !got.ended {
				t.Errorf("at the limit: %+v", got)
			}
			if m := at.Metrics(); m.Changed != 1 || len(m.Refused) != 0 {
				t.Errorf("at the limit: metrics %+v", m)
			}
			above := newServer(t, tc.config(-1))
			if got := treat(t, above, start(about(), false, ok, asJSON), last(listed)); got.immediate != 502 {
				t.Errorf("above the limit: %+v", got)
			}
			if m := above.Metrics(); m.Refused[string(tc.rule)] != 1 {
				t.Errorf("above the limit: metrics %+v", m)
			}
		})
	}
}
