package listfilter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/mcpgate/mcpgate/extauthz/session"
	"github.com/mcpgate/mcpgate/registry"
)

// dial serves s over gRPC in memory. When the test ends, all streams must have
// ended and nothing may be held.
func dial(t testing.TB, s *Server) extprocv3.ExternalProcessorClient {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	g := grpc.NewServer(grpc.MaxRecvMsgSize(17 << 20))
	s.Register(g)
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:envoy", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.GracefulStop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		if used := s.budget.used.Load(); used != 0 {
			t.Errorf("%d bytes of the budget are still held", used)
		}
	})
	return extprocv3.NewExternalProcessorClient(conn)
}

// wire is Envoy's side of one stream over gRPC.
type wire struct {
	t      testing.TB
	stream extprocv3.ExternalProcessor_ProcessClient
	cancel context.CancelFunc
}

func open(t testing.TB, c extprocv3.ExternalProcessorClient) wire {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	stream, err := c.Process(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return wire{t, stream, cancel}
}

func (w wire) send(in ...*extprocv3.ProcessingRequest) {
	w.t.Helper()
	for _, m := range in {
		if err := w.stream.Send(m); err != nil && !errors.Is(err, io.EOF) {
			w.t.Error(err)
		}
	}
}

// receive reads until the reply or the stream is over; then it ends the stream
// as Envoy does, with CANCELLED.
func (w wire) receive() answered {
	w.t.Helper()
	defer w.cancel()
	var sent answers
	for {
		m, err := w.stream.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return collect(w.t, sent, err)
		}
		sent = append(sent, m)
		if m.GetResponseTrailers() != nil || m.GetImmediateResponse() != nil ||
			m.GetResponseBody().GetResponse().GetBodyMutation().GetStreamedResponse().GetEndOfStream() {
			return collect(w.t, sent, nil)
		}
	}
}

// next reads one message.
func (w wire) next() *extprocv3.ProcessingResponse {
	w.t.Helper()
	m, err := w.stream.Recv()
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func TestOverGRPC(t *testing.T) {
	t.Parallel()
	c := dial(t, newServer(t, Config{}))
	big := strings.Replace(toolList(8300), `"cacheScope":"public"`, `"cacheScope":"private"`, 1)
	var pieces messages
	for rest := big; rest != ""; {
		n := min(len(rest), 1<<20)
		pieces, rest = append(pieces, piece(rest[:n])), rest[n:]
	}
	for name, tc := range map[string]struct {
		in   messages
		want func(answered) bool
	}{
		"JSON":     {messages{start(about(), false, ok, asJSON), piece(listed), last("")}, func(a answered) bool { return a.body == allowed && a.ended }},
		"trailers": {messages{start(about(), false, ok, asJSON), piece(listed), endTrailer()}, func(a answered) bool { return a.body == allowed && a.trailers }},
		"events":   {messages{start(about(), false, ok, asEvents), piece("data: " + listed + "\n\n"), last("")}, func(a answered) bool { return a.body == "data: "+allowed+"\n\n" && a.ended }},
		"refused":  {messages{start(about(), false, ok, asJSON), last("x")}, func(a answered) bool { return a.immediate == 502 }},
		"cut":      {messages{start(about(), false, ok, asEvents), last("data: x\n\n")}, func(a answered) bool { return cutWith(a.err, reasonSyntax) }},
		"5 MB":     {append(append(messages{start(about("scopes=weather:all"), false, ok, asJSON)}, pieces...), last("")), func(a answered) bool { return a.body == big }},
		"5 MB, half hidden": {
			append(append(messages{start(about(), false, ok, asJSON)}, pieces...), last("")),
			func(a answered) bool {
				return a.ended && strings.Count(a.body, `"name":"seen_`) == 4150 && !strings.Contains(a.body, "hidden")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t, c)
			go w.send(tc.in...)
			if a := w.receive(); !tc.want(a) {
				t.Errorf("got %.300v", a)
			}
		})
	}
}

// TestEventsArriveOneByOne: the headers and each event come before the upstream
// sends more.
func TestEventsArriveOneByOne(t *testing.T) {
	t.Parallel()
	w := open(t, dial(t, newServer(t, Config{})))
	w.send(start(about(), false, ok, asEvents))
	if m := w.next(); m.GetResponseHeaders() == nil {
		t.Fatalf("got %v", m)
	}
	for i := range 3 {
		event := fmt.Sprintf("id: %d\ndata: {\"method\":\"m\"}\n\n", i)
		w.send(piece(event[:12]), piece(event[12:]))
		if got := string(w.next().GetResponseBody().GetResponse().GetBodyMutation().GetStreamedResponse().GetBody()); got != event {
			t.Fatalf("event %d: got %q", i, got)
		}
	}
	w.cancel()
}

// TestSessionIDBindsToItsOwner uses the real keyring on both sides.
func TestSessionIDBindsToItsOwner(t *testing.T) {
	t.Parallel()
	keys := session.NewKeyring()
	c := dial(t, newServer(t, Config{Sessions: keys}))
	initialize := messages{start(about("inspect=session", "method=initialize"), false, ok, asJSON, sessionID), last("{}")}

	w := open(t, c)
	w.send(initialize...)
	if a := w.receive(); a.immediate != 502 || strings.Contains(a.body, "upstream-secret") {
		t.Errorf("without a key: got %+v", a)
	}

	keys.Set([]*registry.SessionKey{{Name: "k1", Secret: []byte(strings.Repeat("s", 32))}})
	w = open(t, c)
	w.send(initialize...)
	a := w.receive()
	owner := session.Owner{Issuer: "corp", Subject: "alice", Client: "agent", Server: "weather"}
	if id, err := keys.Unwrap(owner, a.session); err != nil || id != "upstream-secret" || a.body != "{}" {
		t.Errorf("got %+v, which unwraps to %q, %v", a, id, err)
	}
	owner.Subject = "mallory"
	if _, err := keys.Unwrap(owner, a.session); err == nil {
		t.Error("the session id is good for somebody else")
	}
}

// TestManyStreams runs streams of all kinds at once, some of which the client
// leaves at any point.
func TestManyStreams(t *testing.T) {
	t.Parallel()
	c := dial(t, newServer(t, Config{}))
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			w := open(t, c)
			if i%4 == 3 {
				w.send(start(about(), false, ok, []string{asJSON, asEvents}[i/4%2]), piece(listed[:i%len(listed)]))
				w.cancel()
				if _, err := w.stream.Recv(); err != nil && status.Code(err) != codes.Canceled {
					t.Errorf("left: %v", err)
				}
				return
			}
			framed := [2]string{}
			kind := asJSON
			if i%4 == 1 {
				kind, framed = asEvents, [2]string{"data: ", "\n\n"}
			}
			w.send(start(about(), false, ok, kind), piece(framed[0]), piece(listed[:i%len(listed)]), last(listed[i%len(listed):]+framed[1]))
			if a := w.receive(); a.body != framed[0]+allowed+framed[1] {
				t.Errorf("got %+v", a)
			}
		})
	}
	all.Wait()
}
