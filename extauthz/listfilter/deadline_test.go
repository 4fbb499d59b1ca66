package listfilter

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"github.com/mcpgate/mcpgate/extauthz/session"
	"github.com/mcpgate/mcpgate/registry"
)

const deadline = 30 * time.Second

// stuck runs a stream that Envoy never ends, with room for so many answers
// before Send blocks, and returns what was sent, how it ended and when.
func stuck(t *testing.T, config Config, room int, in ...*extprocv3.ProcessingRequest) (answered, time.Duration) {
	t.Helper()
	config.Deadline = deadline
	s := newServer(t, config)
	// As gRPC does it: the context ends when the handler returns.
	ctx, cancel := context.WithCancel(t.Context())
	stream := newFakeStream(ctx, room, in...)
	defer cancel()
	began := time.Now()
	err := s.Process(stream)
	took := time.Since(began)
	cancel()
	synctest.Wait()
	close(stream.out)
	var sent answers
	for m := range stream.out {
		sent = append(sent, m)
	}
	if used := s.budget.used.Load(); used != 0 {
		t.Errorf("%d bytes of the budget are still held", used)
	}
	return collect(t, sent, err), took
}

type answers = []*extprocv3.ProcessingResponse

func TestStuckStreamsEndWithinTheDeadline(t *testing.T) {
	t.Parallel()
	big := reply1(`{"tools":[{"name":"get","x":"` + strings.Repeat("x", 5*maxPiece) + `"}]}`)
	for name, tc := range map[string]struct {
		room int
		in   messages
		want func(answered) bool
	}{
		"no first message":                {1, nil, func(a answered) bool { return a.immediate == 502 && a.body == unusable("null") }},
		"upstream silent after headers":   {1, messages{start(about(), false, ok, asJSON)}, func(a answered) bool { return a.immediate == 502 && a.body == unusable("1") }},
		"upstream silent in the body":     {1, messages{start(about(), false, ok, asJSON), piece(listed)}, func(a answered) bool { return a.immediate == 502 }},
		"upstream silent in an error":     {1, messages{start(about(), false, ":status= 500"), piece(listed)}, func(a answered) bool { return a.immediate == 502 }},
		"Envoy reads no headers":          {0, messages{start(about(), false, ok, asEvents)}, func(a answered) bool { return cutWith(a.err, reasonDeadline) }},
		"Envoy reads no body":             {2, messages{start(about(), false, ok, asJSON), last(big)}, func(a answered) bool { return cutWith(a.err, reasonDeadline) && !a.ended }},
		"Envoy reads no event":            {1, messages{start(about(), false, ok, asEvents), piece("data: " + listed + "\n\n")}, func(a answered) bool { return cutWith(a.err, reasonDeadline) && a.body == "" }},
		"Envoy does not end the stream":   {9, messages{start(about(), false, ok, asJSON), last(listed)}, func(a answered) bool { return a.err == nil && a.body == allowed && a.ended }},
		"Envoy does not end it, trailers": {9, messages{start(about(), false, ok, asJSON), piece(listed), endTrailer()}, func(a answered) bool { return a.err == nil && a.trailers }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				got, took := stuck(t, Config{}, tc.room, tc.in...)
				if !tc.want(got) {
					t.Errorf("got %+v", got)
				}
				if took != deadline {
					t.Errorf("after %v", took)
				}
			})
		})
	}
}

// blocked is a Sessions that never answers.
type blocked struct{ release chan struct{} }

func (b blocked) Wrap(session.Owner, string) (string, error) {
	<-b.release
	return "late", nil
}

func TestBlockedHandlerEndsWithinTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		time.AfterFunc(time.Hour, func() { close(release) })
		s := newServer(t, Config{Sessions: blocked{release}, Deadline: deadline})
		ctx, cancel := context.WithCancel(t.Context())
		stream := newFakeStream(ctx, 1, start(about("inspect=session", "method=initialize"), false, ok, sessionID))
		began := time.Now()
		err := s.Process(stream)
		if took := time.Since(began); took != deadline {
			t.Errorf("after %v", took)
		}
		if a := collect(t, answers{<-stream.out}, err); a.immediate != 502 {
			t.Errorf("got %+v", a)
		}
		// The late answer of the handler is not sent any more.
		<-time.After(2 * time.Hour)
		if len(stream.out) != 0 {
			t.Errorf("sent after the end: %v", <-stream.out)
		}
		cancel()
	})
}

// TestSlowEventsAreNoReasonToEnd: a stream may stay open and silent for as long
// as the upstream likes.
func TestSlowEventsAreNoReasonToEnd(t *testing.T) {
	t.Parallel()
	for name, decision := range map[string]messages{
		"list":    {start(about(), false, ok, asEvents)},
		"resume":  {start(about("inspect=resume"), false, ok, asEvents)},
		"session": {start(about("inspect=session", "method=initialize"), false, ok, asEvents)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, Config{Deadline: deadline})
				stream := newFakeStream(t.Context(), 100, decision...)
				done := make(chan error)
				go func() { done <- s.Process(stream) }()
				for range 5 {
					<-time.After(100 * deadline)
					stream.in <- piece("data: " + allowed + "\n\n")
				}
				stream.in <- last("")
				close(stream.in)
				err := <-done
				close(stream.out)
				var sent answers
				for m := range stream.out {
					sent = append(sent, m)
				}
				if a := collect(t, sent, err); a.err != nil || a.body != strings.Repeat("data: "+allowed+"\n\n", 5) || !a.ended {
					t.Errorf("got %+v", a)
				}
			})
		})
	}
}

func TestClientThatGoesAwayEndsTheStream(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]messages{
		"before the first message": nil,
		"held":                     {start(about(), false, ok, asJSON), piece(listed)},
		"streaming":                {start(about(), false, ok, asEvents), piece("data: " + listed)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, Config{Deadline: deadline})
				ctx, cancel := context.WithCancel(t.Context())
				stream := newFakeStream(ctx, 10, in...)
				done := make(chan error)
				go func() { done <- s.Process(stream) }()
				synctest.Wait()
				cancel()
				<-done
				synctest.Wait()
				if used := s.budget.used.Load(); used != 0 {
					t.Errorf("%d bytes of the budget are still held", used)
				}
				for len(stream.out) > 0 {
					if m := <-stream.out; m.GetImmediateResponse() != nil {
						t.Errorf("sent %v", m)
					}
				}
			})
		})
	}
}

// TestPolicyOfAnOpenStream: what a caller sees of a replay is decided when it
// is replayed, not when the stream was opened.
func TestPolicyOfAnOpenStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		policies := weather()
		s := newServer(t, Config{Policies: policies, Deadline: deadline})
		stream := newFakeStream(t.Context(), 10, start(about("inspect=resume"), false, ok, asEvents))
		done := make(chan error)
		go func() { done <- s.Process(stream) }()
		next := func() string {
			synctest.Wait()
			return string((<-stream.out).GetResponseBody().GetResponse().GetBodyMutation().GetStreamedResponse().GetBody())
		}
		next()
		stream.in <- piece("data: " + listed + "\n\n")
		if got := next(); got != "data: "+allowed+"\n\n" {
			t.Errorf("at first: %q", got)
		}

		policies.Apply(registry.Event{Revision: 6, Changes: []registry.Change{{
			Key: registry.Key{Kind: registry.KindScope, Name: "weather:read"},
			Resource: &registry.Scope{Name: "weather:read", Rules: []registry.Rule{
				{Servers: []string{"weather"}, Tools: []registry.Pattern{"get"}},
			}},
		}}})
		stream.in <- piece("data: " + listed + "\n\n")
		if got := next(); got != "data: "+strings.Replace(allowed, `,{"name":"list_all"}`, "", 1)+"\n\n" {
			t.Errorf("after the scope lost a tool: %q", got)
		}

		policies.Apply(registry.Event{Revision: 7, Changes: []registry.Change{{
			Key: registry.Key{Kind: registry.KindServer, Name: "weather"},
		}}})
		stream.in <- piece("data: " + listed + "\n\n")
		if err := <-done; !cutWith(err, reasonServer) || len(stream.out) > 0 {
			t.Errorf("after the server was deleted: %v", err)
		}
	})
}
