package listfilter

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/session"
	"github.com/mcpgate/mcpgate/registry"
)

// fakeStream is Envoy's side of one stream, without a network.
type fakeStream struct {
	grpc.ServerStream
	ctx context.Context
	in  chan *extprocv3.ProcessingRequest
	out chan *extprocv3.ProcessingResponse
}

func newFakeStream(ctx context.Context, room int, in ...*extprocv3.ProcessingRequest) *fakeStream {
	s := &fakeStream{ctx: ctx, in: make(chan *extprocv3.ProcessingRequest, len(in)), out: make(chan *extprocv3.ProcessingResponse, room)}
	for _, m := range in {
		s.in <- m
	}
	return s
}

func (s *fakeStream) Context() context.Context { return s.ctx }

func (s *fakeStream) Recv() (*extprocv3.ProcessingRequest, error) {
	select {
	case m, ok := <-s.in:
		if !ok {
			return nil, io.EOF
		}
		return m, nil
	case <-s.ctx.Done():
		return nil, status.FromContextError(s.ctx.Err()).Err()
	}
}

func (s *fakeStream) Send(m *extprocv3.ProcessingResponse) error {
	select {
	case s.out <- m:
		return nil
	case <-s.ctx.Done():
		return status.FromContextError(s.ctx.Err()).Err()
	}
}

// answered is what a client of the gateway sees of one reply.
type answered struct {
	// headers is true when the upstream's headers went out, with these changes.
	headers     bool
	session     string
	removed     bool
	contentType string
	body        string
	// ends counts end_of_stream and trailers.
	ended, trailers bool

	// immediate is the status of an ImmediateResponse, 0 without one.
	immediate int
	// err is how the stream was cut.
	err error
}

// collect reads what the server sent and checks that it is legal: nothing
// before the headers, nothing after the end, pieces within the limit.
func collect(t testing.TB, sent []*extprocv3.ProcessingResponse, err error) answered {
	t.Helper()
	a := answered{err: err}
	over := false
	for _, m := range sent {
		if over {
			t.Errorf("message after the end: %v", m)
		}
		switch m := m.GetResponse().(type) {
		case *extprocv3.ProcessingResponse_ResponseHeaders:
			if a.headers {
				t.Error("headers twice")
			}
			a.headers = true
			mutation := m.ResponseHeaders.GetResponse().GetHeaderMutation()
			for _, h := range mutation.GetSetHeaders() {
				if h.GetAppendAction() != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD || h.GetHeader().GetValue() != "" {
					t.Errorf("header mutation %v", h)
				}
				switch h.GetHeader().GetKey() {
				case "mcp-session-id":
					a.session = string(h.GetHeader().GetRawValue())
				case "content-type":
					a.contentType = string(h.GetHeader().GetRawValue())
				default:
					t.Errorf("the mutation rules do not allow %v", h)
				}
			}
			for _, name := range mutation.GetRemoveHeaders() {
				a.removed = a.removed || name == "mcp-session-id"
			}
			if a.removed == (a.session != "") {
				t.Error("session id neither set nor removed, or both")
			}
		case *extprocv3.ProcessingResponse_ResponseBody:
			streamed := m.ResponseBody.GetResponse().GetBodyMutation().GetStreamedResponse()
			if !a.headers || streamed == nil || len(streamed.GetBody()) > maxPiece {
				t.Errorf("body message %v", m)
			}
			a.body += string(streamed.GetBody())
			a.ended = streamed.GetEndOfStream()
			over = a.ended
		case *extprocv3.ProcessingResponse_ResponseTrailers:
			a.trailers, over = true, true
		case *extprocv3.ProcessingResponse_ImmediateResponse:
			if a.headers {
				t.Error("ImmediateResponse after the headers")
			}
			r := m.ImmediateResponse
			a.immediate, a.body, over = int(r.GetStatus().GetCode()), string(r.GetBody()), true
			if r.GetDetails() != "mcpgate_filter" {
				t.Errorf("details %q", r.GetDetails())
			}
			for _, h := range r.GetHeaders().GetSetHeaders() {
				if h.GetHeader().GetKey() == "content-type" {
					a.contentType = string(h.GetHeader().GetRawValue())
				}
			}
			if a.contentType != "application/json" {
				t.Errorf("content type of an ImmediateResponse: %q", a.contentType)
			}
		default:
			t.Errorf("unexpected message %v", m)
		}
	}
	return a
}

// treat runs one stream to its end over a fake stream: the messages, then
// Envoy's end of the stream.
func treat(t testing.TB, s *Server, in ...*extprocv3.ProcessingRequest) answered {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream := newFakeStream(ctx, 10_000, in...)
	close(stream.in)
	err := s.Process(stream)
	close(stream.out)
	var sent []*extprocv3.ProcessingResponse
	for m := range stream.out {
		sent = append(sent, m)
	}
	return collect(t, sent, err)
}

// The messages of Envoy.

// about makes the metadata of a decision from the usual one; an empty value
// takes a field out.
func about(changes ...string) *corev3.Metadata {
	fields := map[string]*structpb.Value{}
	for _, pair := range append([]string{
		"route=inspect:weather@3", "server=weather", "inspect=list", "method=tools/list", "id=1",
		"issuer=corp", "subject=alice", "client=agent", "scopes=weather:read other",
	}, changes...) {
		name, value, _ := strings.Cut(pair, "=")
		fields[name] = structpb.NewStringValue(value)
		if value == "" {
			delete(fields, name)
		}
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
		"envoy.filters.http.ext_authz": {Fields: fields},
		"another.filter":               {Fields: map[string]*structpb.Value{"inspect": structpb.NewStringValue("none")}},
	}}
}

// start is the first message; headers are name: value pairs.
func start(decision *corev3.Metadata, ended bool, headers ...string) *extprocv3.ProcessingRequest {
	h := &extprocv3.HttpHeaders{Headers: &corev3.HeaderMap{}, EndOfStream: ended}
	for _, pair := range headers {
		name, value, _ := strings.Cut(pair, "= ")
		h.Headers.Headers = append(h.Headers.Headers, &corev3.HeaderValue{Key: name, RawValue: []byte(value)})
	}
	return &extprocv3.ProcessingRequest{
		MetadataContext: decision,
		Request:         &extprocv3.ProcessingRequest_ResponseHeaders{ResponseHeaders: h},
	}
}

func piece(text string) *extprocv3.ProcessingRequest { return bodyMessage(text, false) }
func last(text string) *extprocv3.ProcessingRequest  { return bodyMessage(text, true) }

func bodyMessage(text string, ended bool) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseBody{
		ResponseBody: &extprocv3.HttpBody{Body: []byte(text), EndOfStream: ended},
	}}
}

func endTrailer() *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseTrailers{
		ResponseTrailers: &extprocv3.HttpTrailers{Trailers: &corev3.HeaderMap{}},
	}}
}

const (
	ok        = ":status= 200"
	asJSON    = "content-type= application/json"
	asEvents  = "content-type= text/event-stream"
	sessionID = "mcp-session-id= upstream-secret"
)

// wrapper is a fake of Sessions.
type wrapper struct{}

func (wrapper) Wrap(o session.Owner, id string) (string, error) {
	if id == "unwrappable" {
		return "", errors.New("unwrappable upstream-secret")
	}
	if id == "panics" {
		panic("upstream-secret")
	}
	return "bound." + strings.Join([]string{o.Issuer, o.Subject, o.Client, o.Server}, "."), nil
}

// weather is the registry that the tests use: generation 3 of the server
// weather, whose tools "get" and "list_*" the scope weather:read shows.
func weather(changes ...func(*registry.Server)) *extauthz.Policies {
	server := &registry.Server{
		Name:     "weather",
		Metadata: registry.Metadata{Revision: 3, Generation: 3},
		Upstream: registry.Upstream{URL: "http://127.0.0.1:1/mcp"},
	}
	for _, change := range changes {
		change(server)
	}
	p := extauthz.NewPolicies(extauthz.Config{ExternalURL: "http://gw.test"})
	p.Load(registry.Snapshot{Revision: 5, Resources: []registry.Resource{
		server,
		&registry.Issuer{Name: "corp", Issuer: "https://idp.test"},
		&registry.Scope{Name: "weather:read", Rules: []registry.Rule{{
			Servers: []string{"weather"}, Tools: []registry.Pattern{"get", "list_*", "seen_*"},
			Prompts: []registry.Pattern{"greet"}, Resources: []registry.Pattern{"weather://*"},
		}}},
		&registry.Scope{Name: "weather:all", Rules: []registry.Rule{{
			Servers: []string{"weather"}, Tools: []registry.Pattern{"*"}, Prompts: []registry.Pattern{"*"}, Resources: []registry.Pattern{"*"},
		}}},
	}})
	return p
}

// newServer makes a server whose log is checked for secrets.
func newServer(t testing.TB, config Config) *Server {
	if config.Policies == nil {
		config.Policies = weather()
	}
	if config.Sessions == nil {
		config.Sessions = wrapper{}
	}
	config.Log = slog.New(slog.NewTextHandler(secretless{t}, nil))
	return New(config)
}

// secretless is a log that must not contain a secret or a hidden name.
type secretless struct{ t testing.TB }

func (s secretless) Write(line []byte) (int, error) {
	for _, word := range []string{"upstream-secret", "hidden"} {
		if strings.Contains(string(line), word) {
			s.t.Errorf("%q is in the log: %s", word, line)
		}
	}
	return len(line), nil
}

// cutWith reports whether the stream was cut for that reason.
func cutWith(err error, why reason) bool {
	return status.Code(err) == codes.Aborted && strings.Contains(err.Error(), string(why))
}
