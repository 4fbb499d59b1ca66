package check

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/session"
	"github.com/mcpgate/mcpgate/extauthz/token"
	"github.com/mcpgate/mcpgate/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	external   = "https://gw.example"
	generation = 3
	callBody   = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_forecast","arguments":{}}}`
	listBody   = `{"jsonrpc":"2.0","id":"l","method":"tools/list"}`
	initBody   = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`
)

// verifierFunc is a Verifier.
type verifierFunc func(ctx context.Context, raw string, want token.Want) (*extauthz.Caller, error)

func (f verifierFunc) Verify(ctx context.Context, raw string, want token.Want) (*extauthz.Caller, error) {
	return f(ctx, raw, want)
}

// callers are the valid tokens of the tests.
var callers = map[string]*extauthz.Caller{
	"alice":     {Issuer: "corp", Subject: "alice", Client: "cli", Scopes: []string{"weather:read"}},
	"bob":       {Issuer: "corp", Subject: "bob", Scopes: []string{"other"}},
	"group":     {Issuer: "corp", Subject: "carol", Client: "cli", Groups: []string{"/lob1/users"}},
	"admin":     {Issuer: "corp", Subject: "root", Client: "cli", Scopes: []string{"weather:write", "weather:read", "unknown"}},
	"injection": {Issuer: "corp", Subject: "eve\r\nx-mcpgate-scopes: all", Scopes: []string{"weather:read"}},
	"blank":     {Issuer: "corp", Subject: "alice ", Scopes: []string{"weather:read"}},
	"client":    {Issuer: "corp", Subject: "eve", Client: "c\x00", Scopes: []string{"weather:read"}},
	"noclient":  {Issuer: "corp", Subject: "dave", Scopes: []string{"weather:read"}},
	"nobody":    {Issuer: "corp", Scopes: []string{"weather:read"}},
}

func verify(_ context.Context, raw string, _ token.Want) (*extauthz.Caller, error) {
	switch raw {
	case "expired":
		return nil, &token.Error{Rule: extauthz.RuleTokenExpired, Reason: "exp was an hour ago"}
	case "keys":
		return nil, &token.Error{Rule: extauthz.RuleKeysUnavailable, Reason: "issuer corp is down", Unavailable: true}
	case "broken":
		return nil, errors.New("verifier is broken")
	case "nil":
		return nil, nil
	case "panic":
		panic("a secret in a panic")
	case "index":
		return callers[[]string{}[len(raw)]], nil
	}
	if c, ok := callers[raw]; ok {
		return c, nil
	}
	return nil, &token.Error{Rule: extauthz.RuleTokenMalformed, Reason: "no such token"}
}

func snapshot() registry.Snapshot {
	off := false
	server := func(name string, fn func(*registry.Server)) *registry.Server {
		s := &registry.Server{
			Name: name, Metadata: registry.Metadata{Revision: 9, Generation: generation},
			Upstream: registry.Upstream{URL: "http://127.0.0.1:9000/mcp"},
		}
		if fn != nil {
			fn(s)
		}
		return s
	}
	names := []string{"weather", "credential", "apikey", "cookie", "forward", "nosecret", "badname"}
	credential := func(header, scheme, ref string) func(*registry.Server) {
		return func(s *registry.Server) {
			s.Upstream.Credential = &registry.Credential{Header: header, Scheme: scheme, Secret: registry.SecretRef(ref)}
		}
	}
	return registry.Snapshot{Revision: 9, Resources: []registry.Resource{
		&registry.Issuer{Name: "corp", Issuer: "https://idp.example"},
		server("weather", nil),
		server("off", func(s *registry.Server) { s.Enabled = &off }),
		server("credential", credential("", "Bearer", "env:UPSTREAM")),
		server("apikey", credential("X-API-Key", "", "env:UPSTREAM")),
		server("cookie", credential("Cookie", "", "env:UPSTREAM")),
		server("nosecret", credential("", "Bearer", "env:MISSING")),
		server("badname", credential("Content-Length", "", "env:UPSTREAM")),
		server("forward", func(s *registry.Server) { s.Upstream.ForwardClientToken = true }),
		&registry.Scope{Name: "weather:read", Rules: []registry.Rule{{
			Servers: names, Tools: []registry.Pattern{"get_forecast", "list_*"}, Resources: []registry.Pattern{"weather://*"},
		}}},
		&registry.Scope{Name: "weather:write", Rules: []registry.Rule{{Servers: names, Tools: []registry.Pattern{"set_alert"}}}},
		&registry.Scope{Name: "other", Rules: []registry.Rule{{Servers: []string{"other"}}}},
		&registry.Group{Name: "/lob1/users", Scopes: []string{"weather:read"}},
	}}
}

// fixture is a Server with its surroundings.
type fixture struct {
	config  Config
	keyring *session.Keyring
	records []Record
}

func newFixture() *fixture {
	f := &fixture{keyring: session.NewKeyring()}
	f.keyring.Set([]*registry.SessionKey{{Name: "k1", Secret: []byte("0123456789abcdef0123456789abcdef")}})
	policies := extauthz.NewPolicies(extauthz.Config{ExternalURL: external})
	policies.Load(snapshot())
	f.config = Config{
		Policies: policies,
		Tokens:   verifierFunc(verify),
		Sessions: f.keyring,
		Secrets: secretFunc(func(ref registry.SecretRef) (string, error) {
			if ref == "env:UPSTREAM" {
				return "s3cret", nil
			}
			return "", errors.New("secret " + string(ref) + ": variable is not set")
		}),
		AllowedOrigins: []string{"https://app.example"},
		Audit:          func(r Record) { f.records = append(f.records, r) },
		Log:            slog.New(slog.DiscardHandler),
	}
	return f
}

// last is the audit record of the last check.
func (f *fixture) last(t testing.TB) Record {
	t.Helper()
	if len(f.records) == 0 {
		t.Fatal("no audit record")
	}
	return f.records[len(f.records)-1]
}

// exchange sends the wire form of a CheckRequest through the handler and the
// codec, as gRPC does.
func (f *fixture) exchange(ctx context.Context, wire []byte) ([]byte, error) {
	c := newCodec()
	response, err := New(f.config).handle(nil, ctx, func(m any) error {
		return c.Unmarshal(mem.BufferSlice{mem.SliceBuffer(wire)}, m)
	}, nil)
	if err != nil {
		return nil, err
	}
	out, err := c.Marshal(response)
	if err != nil {
		return nil, err
	}
	return out.Materialize(), nil
}

func (f *fixture) check(t testing.TB, r *authv3.CheckRequest) *authv3.CheckResponse {
	t.Helper()
	wire, err := f.exchange(t.Context(), marshal(t, r))
	if err != nil {
		t.Fatalf("Check: %v", err)
	}
	return unmarshalResponse(t, wire)
}

// request builds a CheckRequest as Envoy does. headers are "name: value"; a
// header that starts with "-" takes one of the defaults away.
func request(verb, server, body string, headers ...string) *authv3.CheckRequest {
	path := "/" + server + "/mcp"
	list := []string{
		":authority: gw.example", ":path: " + path, ":method: " + verb, ":scheme: https", "accept: application/json, text/event-stream",
		"authorization: Bearer alice", "x-request-id: req-1",
	}
	if verb == "POST" {
		list = append(list, "content-type: application/json", "x-envoy-auth-partial-body: false")
	}
	for _, h := range headers {
		if name, ok := strings.CutPrefix(h, "-"); ok {
			kept := list[:0:0]
			for _, l := range list {
				if !strings.HasPrefix(l, name+":") {
					kept = append(kept, l)
				}
			}
			list = kept
			continue
		}
		list = append(list, h)
	}
	hm := &corev3.HeaderMap{}
	for _, l := range list {
		i := strings.Index(l[1:], ":") + 1
		hm.Headers = append(hm.Headers, &corev3.HeaderValue{Key: l[:i], RawValue: []byte(strings.TrimPrefix(l[i+1:], " "))})
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Id: "1", Method: verb, Path: path, Host: "gw.example", Scheme: "https", Protocol: "HTTP/2",
			Size: int64(len(body)), RawBody: []byte(body), HeaderMap: hm,
		}},
		RouteMetadataContext: routeMetadata(server, generation),
	}}
}

func routeMetadata(server string, generation float64) *corev3.Metadata {
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{metadataNamespace: {Fields: map[string]*structpb.Value{
		"server": structpb.NewStringValue(server), "generation": structpb.NewNumberValue(generation), "rev": structpb.NewNumberValue(44),
	}}}}
}

// as replaces the token of a request.
func as(token string) []string { return []string{"-authorization", "authorization: Bearer " + token} }

// edit changes a request and returns it.
func edit(r *authv3.CheckRequest, fn func(*authv3.AttributeContext_HttpRequest)) *authv3.CheckRequest {
	fn(r.Attributes.Request.Http)
	return r
}

// denied describes a refusal; it fails the test for an allow, or for a
// response that Envoy would take for one.
func denied(t testing.TB, r *authv3.CheckResponse) (status int, headers map[string]string, body string) {
	t.Helper()
	if r.GetStatus().GetCode() == 0 {
		t.Fatalf("not refused: %v", r)
	}
	d := r.GetDeniedResponse()
	if d == nil {
		t.Fatalf("no denied_response: %v", r)
	}
	headers = map[string]string{}
	for _, h := range d.GetHeaders() {
		if h.GetAppendAction() != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			t.Errorf("header %s is not overwritten", h.GetHeader().GetKey())
		}
		headers[h.GetHeader().GetKey()] = h.GetHeader().GetValue()
	}
	return int(d.GetStatus().GetCode()), headers, d.GetBody()
}

// allowed describes an allow; it fails the test for a refusal.
func allowed(t testing.TB, r *authv3.CheckResponse) (set map[string]string, removed []string, metadata map[string]string) {
	t.Helper()
	ok := r.GetOkResponse()
	if r.GetStatus() == nil || r.GetStatus().GetCode() != 0 || ok == nil {
		t.Fatalf("not allowed: %v", r)
	}
	set, metadata = map[string]string{}, map[string]string{}
	for _, h := range ok.GetHeaders() {
		name := h.GetHeader().GetKey()
		if _, twice := set[name]; twice {
			t.Errorf("header %s is set twice", name)
		}
		if h.GetAppendAction() != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			t.Errorf("header %s is not overwritten", name)
		}
		set[name] = h.GetHeader().GetValue()
	}
	for _, name := range ok.GetHeadersToRemove() {
		if _, both := set[name]; both {
			t.Errorf("header %s is set and removed: Envoy would lose it", name)
		}
	}
	if len(set) == 0 {
		t.Error("no header is changed: Envoy would not choose the route again")
	}
	for k, v := range r.GetDynamicMetadata().GetFields() {
		metadata[k] = v.GetStringValue()
	}
	return set, ok.GetHeadersToRemove(), metadata
}

type sessionFunc func(session.Owner, string) (string, error)

func (f sessionFunc) Unwrap(o session.Owner, bound string) (string, error) { return f(o, bound) }

func asServer(r registry.Resource, name string) (*registry.Server, bool) {
	s, ok := r.(*registry.Server)
	return s, ok && s.Name == name
}

func eventOf(revision int64, r registry.Resource) registry.Event {
	return registry.Event{Revision: revision, Changes: []registry.Change{{Key: r.Key(), Resource: r}}}
}

func wantMap(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func wantRemoved(t testing.TB, removed, want, not []string) {
	t.Helper()
	for _, name := range want {
		if !slices.Contains(removed, name) {
			t.Errorf("%s is not removed: %v", name, removed)
		}
	}
	for _, name := range not {
		if slices.Contains(removed, name) {
			t.Errorf("%s is removed: %v", name, removed)
		}
	}
}
