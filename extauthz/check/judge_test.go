package check

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/session"
	"github.com/mcpgate/mcpgate/extauthz/token"
	"github.com/mcpgate/mcpgate/registry"
)

type httpRequest = authv3.AttributeContext_HttpRequest

// refusals has a row for each rule of this package, and for what it passes on
// of the others.
var refusals = []struct {
	name    string
	request *authv3.CheckRequest
	rule    extauthz.Rule
	status  int
	code    codes.Code
	id      string // of the JSON-RPC error
	header  string // "name: substring" of a header that must be there
}{
	// The guard.
	{name: "no route metadata", request: func() *authv3.CheckRequest {
		r := request("POST", "weather", callBody)
		r.Attributes.RouteMetadataContext = nil
		return r
	}(), rule: extauthz.RuleRouteMetadata, status: 503, code: codes.Unavailable, header: "retry-after: 1"},
	{name: "metadata of another namespace", request: func() *authv3.CheckRequest {
		r := request("POST", "weather", callBody)
		fm := r.Attributes.RouteMetadataContext.FilterMetadata
		fm["other"] = fm[metadataNamespace]
		delete(fm, metadataNamespace)
		return r
	}(), rule: extauthz.RuleRouteMetadata, status: 503, code: codes.Unavailable},
	{name: "no generation", request: func() *authv3.CheckRequest {
		r := request("POST", "weather", callBody)
		delete(r.Attributes.RouteMetadataContext.FilterMetadata[metadataNamespace].Fields, "generation")
		return r
	}(), rule: extauthz.RuleRouteMetadata, status: 503, code: codes.Unavailable},
	{name: "server by path only", request: func() *authv3.CheckRequest {
		r := request("POST", "weather", callBody)
		r.Attributes.ContextExtensions = map[string]string{"server": "weather"}
		r.Attributes.RouteMetadataContext = &corev3.Metadata{}
		return r
	}(), rule: extauthz.RuleRouteMetadata, status: 503, code: codes.Unavailable},
	{name: "headers not raw", request: edit(request("POST", "weather", callBody), func(h *httpRequest) {
		h.Headers = map[string]string{"authorization": "Bearer alice", "content-type": "application/json"}
		h.HeaderMap = nil
	}), rule: extauthz.RuleInternal, status: 503, code: codes.Unavailable},
	{name: "header value not raw", request: edit(request("POST", "weather", callBody), func(h *httpRequest) {
		h.HeaderMap.Headers[0] = &corev3.HeaderValue{Key: "authorization", Value: "Bearer alice"}
	}), rule: extauthz.RuleInternal, status: 503, code: codes.Unavailable},
	{
		name: "partial body", request: request("POST", "weather", callBody, "-x-envoy-auth-partial-body", "x-envoy-auth-partial-body: true"),
		rule: extauthz.RulePartialBody, status: 413, code: codes.PermissionDenied,
	},
	{
		name: "truncated body", request: edit(request("POST", "weather", callBody), func(h *httpRequest) { h.Size += 16384 }),
		rule: extauthz.RulePartialBody, status: 413, code: codes.PermissionDenied,
	},
	{
		name: "body as text", request: edit(request("POST", "weather", callBody), func(h *httpRequest) { h.Body, h.RawBody = callBody, nil }),
		rule: extauthz.RulePartialBody, status: 413, code: codes.PermissionDenied,
	},
	{
		name: "unknown size", request: edit(request("POST", "weather", callBody), func(h *httpRequest) { h.Size = -1 }),
		rule: extauthz.RulePartialBody, status: 413, code: codes.PermissionDenied,
	},
	{
		name: "body not said to be whole", request: request("POST", "weather", callBody, "-x-envoy-auth-partial-body"),
		rule: extauthz.RulePartialBody, status: 413, code: codes.PermissionDenied,
	},
	{
		name: "partial body header twice", request: request("POST", "weather", callBody, "x-envoy-auth-partial-body: true"),
		rule: extauthz.RulePartialBody, status: 413, code: codes.PermissionDenied,
	},
	{
		name: "partial body comes before the token", request: request("POST", "weather", callBody, "-authorization", "x-envoy-auth-partial-body: true"),
		rule: extauthz.RulePartialBody, status: 413, code: codes.PermissionDenied,
	},

	// Server and generation.
	{name: "unknown server", request: request("POST", "nowhere", callBody), rule: extauthz.RuleServerUnknown, status: 404, code: codes.PermissionDenied},
	{name: "disabled server", request: request("POST", "off", callBody), rule: extauthz.RuleServerUnknown, status: 404, code: codes.PermissionDenied},
	{name: "newer generation", request: func() *authv3.CheckRequest {
		r := request("POST", "weather", callBody)
		r.Attributes.RouteMetadataContext = routeMetadata("weather", generation+1)
		return r
	}(), rule: extauthz.RuleGenerationUnknown, status: 503, code: codes.Unavailable, header: "retry-after: 1"},
	{name: "older generation", request: func() *authv3.CheckRequest {
		r := request("POST", "weather", callBody)
		r.Attributes.RouteMetadataContext = routeMetadata("weather", generation-1)
		return r
	}(), rule: extauthz.RuleGenerationUnknown, status: 503, code: codes.Unavailable},

	// Verb.
	{name: "PUT", request: request("PUT", "weather", ""), rule: extauthz.RuleVerb, status: 405, code: codes.PermissionDenied, header: "allow: POST"},
	{name: "HEAD", request: request("HEAD", "weather", ""), rule: extauthz.RuleVerb, status: 405, code: codes.PermissionDenied, header: "allow: POST"},
	{name: "OPTIONS", request: request("OPTIONS", "weather", ""), rule: extauthz.RuleVerb, status: 405, code: codes.PermissionDenied},
	{name: "unknown verb", request: request("FOO", "weather", ""), rule: extauthz.RuleVerb, status: 405, code: codes.PermissionDenied},
	{name: "post", request: request("post", "weather", ""), rule: extauthz.RuleVerb, status: 405, code: codes.PermissionDenied},
	{
		name: "verb comes before origin", request: request("PUT", "weather", "", "-authorization", "origin: https://evil.example"),
		rule: extauthz.RuleVerb, status: 405, code: codes.PermissionDenied,
	},

	// Origin.
	{name: "foreign origin", request: request("POST", "weather", callBody, "origin: https://evil.example"), rule: extauthz.RuleOrigin, status: 403, code: codes.PermissionDenied},
	{name: "null origin", request: request("POST", "weather", callBody, "origin: null"), rule: extauthz.RuleOrigin, status: 403, code: codes.PermissionDenied},
	{name: "empty origin", request: request("POST", "weather", callBody, "origin: "), rule: extauthz.RuleOrigin, status: 403, code: codes.PermissionDenied},
	{
		name: "two origins", request: request("POST", "weather", callBody, "origin: https://app.example", "origin: https://app.example"),
		rule: extauthz.RuleOrigin, status: 403, code: codes.PermissionDenied,
	},
	{
		name: "origin comes before token", request: request("POST", "weather", callBody, "-authorization", "origin: https://evil.example"),
		rule: extauthz.RuleOrigin, status: 403, code: codes.PermissionDenied,
	},

	// Token.
	{
		name: "no token", request: request("POST", "weather", callBody, "-authorization"), rule: extauthz.RuleTokenMissing, status: 401, code: codes.Unauthenticated,
		header: `www-authenticate: Bearer resource_metadata="https://gw.example/.well-known/oauth-protected-resource/weather/mcp", scope="weather:read`,
	},
	{
		name: "no token comes before the body", request: request("POST", "weather", "{", "-authorization", "-content-type"),
		rule: extauthz.RuleTokenMissing, status: 401, code: codes.Unauthenticated,
	},
	{name: "no token on GET", request: request("GET", "weather", "", "-authorization"), rule: extauthz.RuleTokenMissing, status: 401, code: codes.Unauthenticated},
	{
		name: "POST of nothing without token", request: request("POST", "weather", "", "-authorization", "-x-envoy-auth-partial-body"),
		rule: extauthz.RuleTokenMissing, status: 401, code: codes.Unauthenticated,
	},
	{
		name: "other scheme", request: request("POST", "weather", callBody, "-authorization", "authorization: Basic YWxpY2U6"),
		rule: extauthz.RuleTokenScheme, status: 401, code: codes.Unauthenticated,
	},
	{
		name: "two Authorization headers", request: request("POST", "weather", callBody, "authorization: Bearer alice"),
		rule: extauthz.RuleTokenDuplicate, status: 401, code: codes.Unauthenticated,
	},
	{
		name: "comma in Authorization", request: request("POST", "weather", callBody, as("alice,Bearer alice")...),
		rule: extauthz.RuleTokenDuplicate, status: 401, code: codes.Unauthenticated,
	},
	{
		name: "token in query", request: edit(request("POST", "weather", callBody), func(h *httpRequest) { h.Path += "?access_token=alice" }),
		rule: extauthz.RuleTokenInQuery, status: 401, code: codes.Unauthenticated,
	},
	{
		name: "Bearer without token", request: request("POST", "weather", callBody, "-authorization", "authorization: Bearer"),
		rule: extauthz.RuleTokenMalformed, status: 401, code: codes.Unauthenticated, header: `www-authenticate: error="invalid_token"`,
	},
	{
		name: "expired token", request: request("POST", "weather", callBody, as("expired")...), rule: extauthz.RuleTokenExpired, status: 401, code: codes.Unauthenticated,
		header: `www-authenticate: error="invalid_token"`,
	},
	{
		name: "invalid token comes before the body", request: request("POST", "weather", "{", as("expired")...),
		rule: extauthz.RuleTokenExpired, status: 401, code: codes.Unauthenticated,
	},
	{
		name: "keys unavailable", request: request("POST", "weather", callBody, as("keys")...), rule: extauthz.RuleKeysUnavailable, status: 503, code: codes.Unavailable,
		header: "retry-after: 1",
	},
	{name: "verifier error", request: request("POST", "weather", callBody, as("broken")...), rule: extauthz.RuleInternal, status: 503, code: codes.Unavailable},
	{name: "verifier without caller", request: request("POST", "weather", callBody, as("nil")...), rule: extauthz.RuleInternal, status: 503, code: codes.Unavailable},
	{name: "caller without subject", request: request("POST", "weather", callBody, as("nobody")...), rule: extauthz.RuleInternal, status: 503, code: codes.Unavailable},
	{
		name: "panic", request: request("POST", "weather", callBody, as("panic")...), rule: extauthz.RulePanic, status: 503, code: codes.Unavailable,
		header: "retry-after: 1",
	},
	{name: "runtime panic", request: request("POST", "weather", callBody, as("index")...), rule: extauthz.RulePanic, status: 503, code: codes.Unavailable},

	// Body.
	{name: "body on GET", request: request("GET", "weather", "hello", "x-envoy-auth-partial-body: false"), rule: extauthz.RuleUnexpectedBody, status: 400, code: codes.PermissionDenied},
	{name: "body on DELETE", request: request("DELETE", "weather", "hello", "x-envoy-auth-partial-body: false"), rule: extauthz.RuleUnexpectedBody, status: 400, code: codes.PermissionDenied},
	{name: "no content type", request: request("POST", "weather", callBody, "-content-type"), rule: extauthz.RuleContentType, status: 415, code: codes.PermissionDenied},
	{name: "text content type", request: request("POST", "weather", callBody, "-content-type", "content-type: text/plain"), rule: extauthz.RuleContentType, status: 415, code: codes.PermissionDenied},
	{name: "two content types", request: request("POST", "weather", callBody, "content-type: application/json"), rule: extauthz.RuleContentType, status: 415, code: codes.PermissionDenied},
	{
		name: "joined content types", request: request("POST", "weather", callBody, "-content-type", "content-type: application/json,text/plain"),
		rule: extauthz.RuleContentType, status: 415, code: codes.PermissionDenied,
	},
	{
		name: "utf-7", request: request("POST", "weather", callBody, "-content-type", "content-type: application/json; charset=utf-7"),
		rule: extauthz.RuleContentType, status: 415, code: codes.PermissionDenied,
	},
	{name: "gzip", request: request("POST", "weather", callBody, "content-encoding: gzip"), rule: extauthz.RuleContentEncoding, status: 415, code: codes.PermissionDenied},
	{name: "identity and gzip", request: request("POST", "weather", callBody, "content-encoding: identity, gzip"), rule: extauthz.RuleContentEncoding, status: 415, code: codes.PermissionDenied},
	{
		name: "two encodings", request: request("POST", "weather", callBody, "content-encoding: identity", "content-encoding: identity"),
		rule: extauthz.RuleContentEncoding, status: 415, code: codes.PermissionDenied,
	},
	{name: "two Mcp-Method", request: request("POST", "weather", callBody, "mcp-method: tools/call", "mcp-method: tools/call"), rule: extauthz.RuleHeaderDuplicate, status: 400, code: codes.PermissionDenied},
	{name: "two Mcp-Name", request: request("POST", "weather", callBody, "mcp-name: a", "mcp-name: b"), rule: extauthz.RuleHeaderDuplicate, status: 400, code: codes.PermissionDenied},
	{
		name: "two versions", request: request("POST", "weather", callBody, "mcp-protocol-version: 2025-11-25", "mcp-protocol-version: 2025-06-18"),
		rule: extauthz.RuleHeaderDuplicate, status: 400, code: codes.PermissionDenied,
	},
	{name: "two sessions", request: request("POST", "weather", callBody, "mcp-session-id: a", "mcp-session-id: b"), rule: extauthz.RuleHeaderDuplicate, status: 400, code: codes.PermissionDenied},
	{name: "no body", request: request("POST", "weather", "", "-x-envoy-auth-partial-body"), rule: "body-empty", status: 400, code: codes.PermissionDenied},
	{name: "not JSON", request: request("POST", "weather", "{"), rule: "body-truncated", status: 400, code: codes.PermissionDenied},
	{
		name: "ambiguous body after the id", request: request("POST", "weather", `{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"get_forecast","name":"set_alert"}}`),
		rule: "body-duplicate", status: 400, code: codes.PermissionDenied, id: `"x"`,
	},

	// Permission.
	{
		name: "more scope helps", request: request("POST", "weather", strings.Replace(callBody, "get_forecast", "set_alert", 1)),
		rule: extauthz.RuleScopeInsufficient, status: 403, code: codes.PermissionDenied, id: "7",
		header: `www-authenticate: Bearer error="insufficient_scope", scope="weather:write"`,
	},
	{
		name: "no scope helps", request: request("POST", "weather", strings.Replace(callBody, "get_forecast", "rm", 1)),
		rule: extauthz.RuleNoScopeHelps, status: 403, code: codes.PermissionDenied, id: "7",
	},
	{name: "header is not the body", request: request("POST", "weather", callBody, "mcp-name: set_alert"), rule: extauthz.RuleMirrorMismatch, status: 400, code: codes.PermissionDenied, id: "7"},

	// Session.
	{name: "unbound session", request: request("POST", "weather", callBody, "mcp-session-id: upstream-id"), rule: extauthz.RuleSessionUnknown, status: 404, code: codes.PermissionDenied, id: "7"},
	{name: "empty session", request: request("POST", "weather", callBody, "mcp-session-id: "), rule: extauthz.RuleSessionUnknown, status: 404, code: codes.PermissionDenied, id: "7"},
	{
		name: "permission comes before session", request: request("POST", "weather", strings.Replace(callBody, "get_forecast", "rm", 1), "mcp-session-id: upstream-id"),
		rule: extauthz.RuleNoScopeHelps, status: 403, code: codes.PermissionDenied, id: "7",
	},

	// What an allow cannot be made of.
	{name: "control character in subject", request: request("POST", "weather", callBody, as("injection")...), rule: extauthz.RuleInternal, status: 503, code: codes.Unavailable, id: "7"},
	{name: "blank at the end of subject", request: request("POST", "weather", callBody, as("blank")...), rule: extauthz.RuleInternal, status: 503, code: codes.Unavailable, id: "7"},
	{name: "control character in client", request: request("POST", "weather", callBody, as("client")...), rule: extauthz.RuleInternal, status: 503, code: codes.Unavailable, id: "7"},
	{name: "no secret", request: request("POST", "nosecret", callBody), rule: extauthz.RuleSecretUnavailable, status: 503, code: codes.Unavailable, id: "7"},
	{name: "credential in a framing header", request: request("POST", "badname", callBody), rule: extauthz.RuleSecretUnavailable, status: 503, code: codes.Unavailable, id: "7"},
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range refusals {
		t.Run(strings.ReplaceAll(string(tt.rule)+": "+tt.name, "/", "_"), func(t *testing.T) {
			t.Parallel()
			f := newFixture()
			r := f.check(t, tt.request)
			status, headers, body := denied(t, r)
			if status != tt.status || codes.Code(r.GetStatus().GetCode()) != tt.code {
				t.Errorf("status %d, code %d; want %d, %d", status, r.GetStatus().GetCode(), tt.status, tt.code)
			}
			if name, want, _ := strings.Cut(tt.header, ": "); !strings.Contains(headers[name], want) {
				t.Errorf("%s is %q, want it to have %q", name, headers[name], want)
			}
			if headers["cache-control"] != "no-store" || headers["content-type"] != "application/json" {
				t.Errorf("headers %q", headers)
			}
			var e struct {
				JSONRPC string          `json:"jsonrpc"`
				ID      json.RawMessage `json:"id"`
				Error   struct {
					Code    int    `json:"code"`
					Message string `json:"message"`
				} `json:"error"`
			}
			if err := json.Unmarshal([]byte(body), &e); err != nil || e.JSONRPC != "2.0" || e.Error.Code >= 0 || e.Error.Message == "" {
				t.Errorf("body %s: %v", body, err)
			}
			if want := cmp.Or(tt.id, "null"); string(e.ID) != want {
				t.Errorf("id %s, want %s", e.ID, want)
			}
			meta := r.GetDynamicMetadata().GetFields()
			if meta["route"] != nil || meta["inspect"] != nil || meta["rule"].GetStringValue() != string(tt.rule) {
				t.Errorf("metadata %v, want rule %s and no route", meta, tt.rule)
			}
			rec := f.last(t)
			if rec.Rule != tt.rule || rec.Status != tt.status || rec.Effect == EffectAllow || rec.Effect == EffectFail != (tt.status == 503) {
				t.Errorf("record %+v", rec)
			}
			if rec.Rule != extauthz.RuleInternal && rec.RequestID != "req-1" {
				t.Errorf("request id %q in the record", rec.RequestID)
			}
			for _, internal := range []string{"s3cret", "MISSING", "corp", "down", "panic", "secret in"} {
				if strings.Contains(body, internal) {
					t.Errorf("body shows %q: %s", internal, body)
				}
			}
			if strings.Contains(rec.Reason, "a secret in a panic") {
				t.Errorf("record shows the value of a panic: %+v", rec)
			}
		})
	}
}

func TestMalformedCheckRequestIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture()
	wire, err := f.exchange(t.Context(), []byte("\x0a\x05\xff"))
	if err != nil {
		t.Fatal(err)
	}
	status, _, _ := denied(t, unmarshalResponse(t, wire))
	if rec := f.last(t); status != 503 || rec.Rule != extauthz.RuleInternal {
		t.Errorf("status %d, record %+v", status, rec)
	}
}

func TestNotReadyRefusesEverything(t *testing.T) {
	t.Parallel()
	f := newFixture()
	f.config.Ready = func() bool { return false }
	status, headers, _ := denied(t, f.check(t, request("POST", "weather", callBody)))
	if status != 503 || headers["retry-after"] != "1" || f.last(t).Rule != extauthz.RuleNotReady {
		t.Errorf("status %d, headers %v, record %+v", status, headers, f.last(t))
	}
	f.config.Ready = func() bool { return true }
	allowed(t, f.check(t, request("POST", "weather", callBody)))
}

func TestDenialAsJSONRPC(t *testing.T) {
	t.Parallel()
	forbidden := strings.Replace(callBody, "get_forecast", "rm", 1)
	for name, tt := range map[string]struct {
		request *authv3.CheckRequest
		status  int
	}{
		"no scope helps":            {request("POST", "weather", forbidden), 200},
		"more scope helps":          {request("POST", "weather", strings.Replace(callBody, "get_forecast", "set_alert", 1)), 403},
		"foreign origin":            {request("POST", "weather", forbidden, "origin: https://evil.example"), 403},
		"no token":                  {request("POST", "weather", forbidden, "-authorization"), 401},
		"unknown session":           {request("POST", "weather", callBody, "mcp-session-id: x"), 404},
		"unknown server":            {request("POST", "nowhere", callBody), 404},
		"GET has no id to reply to": {request("GET", "weather", "", as("bob")...), 403},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture()
			f.config.Denial = DenialJSONRPC
			r := f.check(t, tt.request)
			status, _, body := denied(t, r)
			if status != tt.status {
				t.Errorf("status %d, want %d; body %s", status, tt.status, body)
			}
			if status == 200 && !strings.Contains(body, `"id":7`) {
				t.Errorf("body %s", body)
			}
		})
	}
}

func TestContextThatEndedIsNeverAnswered(t *testing.T) {
	t.Parallel()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for _, tt := range []struct {
		ctx  context.Context //nolint:containedctx // the contexts are the rows
		code codes.Code
	}{{canceled, codes.Canceled}, {late, codes.DeadlineExceeded}} {
		f := newFixture()
		wire, err := f.exchange(tt.ctx, marshal(t, request("POST", "weather", callBody)))
		if status.Code(err) != tt.code || wire != nil {
			t.Errorf("answer %q, error %v; want no answer and %v", wire, err, tt.code)
		}
		if rec := f.last(t); rec.Rule != extauthz.RuleDeadline || rec.Effect != EffectFail {
			t.Errorf("record %+v", rec)
		}
	}
}

func TestInterceptorCannotMakeAnAllow(t *testing.T) {
	t.Parallel()
	read := func(m any) error {
		e, _ := m.(*exchange)
		return e.decode(marshal(t, request("POST", "weather", callBody, "-authorization")))
	}
	for name, interceptor := range map[string]grpc.UnaryServerInterceptor{
		"nil": func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) { return nil, nil },
		"nil answer": func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
			return (*answer)(nil), nil
		},
		"empty answer": func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
			return &answer{}, nil
		},
		"generated type": func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
			return &authv3.CheckResponse{}, nil
		},
		"panic": func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) { panic("x") },
		"transparent": func(ctx context.Context, r any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			return h(ctx, r)
		},
	} {
		f := newFixture()
		got, err := New(f.config).handle(nil, t.Context(), read, interceptor)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out, err := newCodec().Marshal(got)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		denied(t, unmarshalResponse(t, out.Materialize()))
	}
	failed := errors.New("interceptor failed")
	got, err := New(newFixture().config).handle(nil, t.Context(), read,
		func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
			return &answer{wire: []byte{1}}, failed
		})
	if got != nil || !errors.Is(err, failed) {
		t.Errorf("answer %v, error %v", got, err)
	}
}

func TestPanicOfTheAuditIsARefusal(t *testing.T) {
	t.Parallel()
	f := newFixture()
	calls := 0
	f.config.Audit = func(Record) { calls++; panic("disk") }
	denied(t, f.check(t, request("POST", "weather", callBody)))
	if calls != 1 {
		t.Errorf("audit was called %d times", calls)
	}
}

func TestEmptyAnswerIsNeverSent(t *testing.T) {
	t.Parallel()
	for _, a := range []*answer{nil, {}, {wire: []byte{}}} {
		if out, err := newCodec().Marshal(a); err == nil {
			t.Errorf("the codec sends %v as %d bytes", a, out.Len())
		}
	}
}

func TestRuleWithoutAnswerIsA503(t *testing.T) {
	t.Parallel()
	s := New(newFixture().config)
	for _, rule := range []extauthz.Rule{"", "no-such-rule"} {
		a := s.deny(&exchange{}, extauthz.Decision{Rule: rule})
		if status, _, _ := denied(t, unmarshalResponse(t, a.wire)); status != 503 {
			t.Errorf("rule %q: status %d", rule, status)
		}
	}
	// Every rule of the table can be answered.
	for _, rule := range extauthz.Rules() {
		a := s.deny(&exchange{}, extauthz.Decision{Rule: rule})
		status, headers, body := denied(t, unmarshalResponse(t, a.wire))
		if want := rule.Answer().Status; status != want || body == "" || (status == 405) != (headers["allow"] != "") || (status == 503) != (headers["retry-after"] != "") {
			t.Errorf("rule %s: status %d, want %d; headers %v", rule, status, want, headers)
		}
	}
	// A decision that allows is no denial.
	a := s.deny(&exchange{}, extauthz.Decision{Allow: true, Rule: extauthz.RuleGranted})
	denied(t, unmarshalResponse(t, a.wire))
}

func TestAllowOfToolsCall(t *testing.T) {
	t.Parallel()
	f := newFixture()
	set, removed, metadata := allowed(t, f.check(t, request("POST", "weather", callBody, "cookie: a=b", "accept-encoding: gzip")))
	wantMap(t, "headers", set, map[string]string{
		"content-type": "application/json", "x-mcpgate-subject": "alice", "x-mcpgate-client": "cli", "x-mcpgate-scopes": "weather:read",
		"x-envoy-upstream-rq-timeout-ms": "1", // the token of the fixture has no end
	})
	wantMap(t, "metadata", metadata, map[string]string{
		"route": "plain:weather@3", "server": "weather", "inspect": "none", "method": "tools/call", "id": "7",
	})
	wantRemoved(t, removed, []string{"authorization", "cookie"}, []string{"accept-encoding", "content-type", "accept"})
	want := Record{
		RequestID: "req-1", Server: "weather", Generation: 3, Verb: "POST", Method: "tools/call", Target: "get_forecast",
		Issuer: "corp", Subject: "alice", Client: "cli", Effect: EffectAllow, Rule: extauthz.RuleGranted, Grant: "weather:read",
	}
	got := f.last(t)
	if got.Time.IsZero() || got.Latency < 0 {
		t.Errorf("record without time: %+v", got)
	}
	got.Time, got.Latency, got.Reason = time.Time{}, 0, ""
	if got != want {
		t.Errorf("record %+v, want %+v", got, want)
	}
}

func TestAllowOfAList(t *testing.T) {
	t.Parallel()
	set, removed, metadata := allowed(t, newFixture().check(t, request("POST", "weather", listBody, as("admin")...)))
	if set["x-mcpgate-scopes"] != "weather:read weather:write" {
		t.Errorf("scopes %q", set["x-mcpgate-scopes"])
	}
	wantMap(t, "metadata", metadata, map[string]string{
		"route": "inspect:weather@3", "server": "weather", "inspect": "list", "method": "tools/list", "id": `"l"`,
		"issuer": "corp", "subject": "root", "client": "cli", "scopes": "weather:read weather:write",
	})
	wantRemoved(t, removed, []string{"authorization", "cookie", "accept-encoding"}, nil)
}

func TestAllowOfOtherMessages(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		request        *authv3.CheckRequest
		route, inspect string
	}{
		"initialize":   {request("POST", "weather", initBody), "inspect", "session"},
		"resume":       {request("GET", "weather", "", "last-event-id: 5"), "inspect", "resume"},
		"GET":          {request("GET", "weather", ""), "inspect", "resume"},
		"DELETE":       {request("DELETE", "weather", ""), "plain", "none"},
		"empty DATA":   {request("DELETE", "weather", "", "x-envoy-auth-partial-body: false"), "plain", "none"},
		"notification": {request("POST", "weather", `{"jsonrpc":"2.0","method":"notifications/initialized"}`), "plain", "none"},
		"origin":       {request("POST", "weather", callBody, "origin: https://app.example"), "plain", "none"},
		"identity":     {request("POST", "weather", callBody, "content-encoding: identity"), "plain", "none"},
		"query":        {edit(request("POST", "weather", callBody), func(h *httpRequest) { h.Path += "?x=/other/mcp" }), "plain", "none"},
		"other path":   {edit(request("POST", "weather", callBody), func(h *httpRequest) { h.Path = "/off/mcp" }), "plain", "none"},
		"group member": {request("POST", "weather", callBody, as("group")...), "plain", "none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, removed, metadata := allowed(t, newFixture().check(t, tt.request))
			if metadata["route"] != tt.route+":weather@3" || metadata["inspect"] != tt.inspect {
				t.Errorf("metadata %v", metadata)
			}
			if (metadata["subject"] != "") != (tt.route == "inspect") {
				t.Errorf("metadata %v: the caller is for the filter of the reply", metadata)
			}
			verb := tt.request.GetAttributes().GetRequest().GetHttp().GetMethod()
			if (set["content-type"] != "") != (verb == "POST") {
				t.Errorf("headers %v for %s", set, verb)
			}
			if set["x-mcpgate-subject"] == "" {
				t.Errorf("no header clears the route cache: %v", set)
			}
			wantRemoved(t, removed, []string{"authorization", "cookie"}, nil)
		})
	}
}

func TestAllowRemovesIdentityHeadersThatItDoesNotSet(t *testing.T) {
	t.Parallel()
	f := newFixture()
	_, removed, _ := allowed(t, f.check(t, request("GET", "weather", "", as("noclient")...)))
	wantRemoved(t, removed, []string{"x-mcpgate-client"}, []string{"x-mcpgate-subject", "x-mcpgate-scopes"})
}

// TestScopesTooLongForAHeader: the upstream learns nothing rather than a part,
// the filter of the reply everything.
func TestScopesTooLongForAHeader(t *testing.T) {
	t.Parallel()
	f := newFixture()
	var event registry.Event
	var names []string
	for i := range 100 {
		scope := &registry.Scope{Name: fmt.Sprintf("s%03d:%s", i, strings.Repeat("x", 100)), Rules: []registry.Rule{{Servers: []string{"weather"}}}}
		names = append(names, scope.Name)
		event.Changes = append(event.Changes, registry.Change{Key: scope.Key(), Resource: scope})
	}
	event.Revision = 10
	f.config.Policies.Apply(event)
	f.config.Tokens = verifierFunc(func(context.Context, string, token.Want) (*extauthz.Caller, error) {
		return &extauthz.Caller{Issuer: "corp", Subject: "alice", Scopes: names}, nil
	})
	set, removed, metadata := allowed(t, f.check(t, request("POST", "weather", listBody)))
	if _, ok := set["x-mcpgate-scopes"]; ok || metadata["scopes"] != strings.Join(names, " ") {
		t.Errorf("headers %v, metadata %v", set, metadata)
	}
	wantRemoved(t, removed, []string{"x-mcpgate-scopes"}, nil)
}

func TestCredentialOfTheUpstream(t *testing.T) {
	t.Parallel()
	for server, want := range map[string]struct{ name, value string }{
		"credential": {"authorization", "Bearer s3cret"},
		"apikey":     {"x-api-key", "s3cret"},
		"cookie":     {"cookie", "s3cret"},
	} {
		f := newFixture()
		set, removed, metadata := allowed(t, f.check(t, request("POST", server, callBody)))
		if set[want.name] != want.value {
			t.Errorf("%s: headers %v", server, set)
		}
		for _, name := range []string{"authorization", "cookie"} {
			if name != want.name {
				wantRemoved(t, removed, []string{name}, nil)
			}
		}
		for k, v := range metadata {
			if strings.Contains(v, "s3cret") {
				t.Errorf("metadata %s shows the secret", k)
			}
		}
		if rec := f.last(t); strings.Contains(string(rec.AppendJSON(nil)), "s3cret") {
			t.Errorf("record shows the secret: %+v", rec)
		}
	}
	set, removed, _ := allowed(t, newFixture().check(t, request("POST", "forward", callBody)))
	if _, ok := set["authorization"]; ok {
		t.Errorf("headers %v", set)
	}
	wantRemoved(t, removed, nil, []string{"authorization", "cookie"})
}

// TestCredentialOfTheGenerationOfTheRoute: a request that arrived before the
// upstream changed gets the credential of the upstream that it goes to.
func TestCredentialOfTheGenerationOfTheRoute(t *testing.T) {
	t.Parallel()
	f := newFixture()
	for _, r := range snapshot().Resources {
		if s, ok := asServer(r, "credential"); ok {
			s.Metadata.Generation, s.Metadata.Revision = 10, 10
			s.Upstream.Credential = nil
			f.config.Policies.Apply(eventOf(10, s))
		}
	}
	set, _, metadata := allowed(t, f.check(t, request("POST", "credential", callBody)))
	if set["authorization"] != "Bearer s3cret" || metadata["route"] != "plain:credential@3" {
		t.Errorf("old generation: headers %v, metadata %v", set, metadata)
	}
	r := request("POST", "credential", callBody)
	r.Attributes.RouteMetadataContext = routeMetadata("credential", 10)
	set, removed, metadata := allowed(t, f.check(t, r))
	if _, ok := set["authorization"]; ok || metadata["route"] != "plain:credential@10" {
		t.Errorf("new generation: headers %v, metadata %v", set, metadata)
	}
	wantRemoved(t, removed, []string{"authorization"}, nil)
}

func TestSessionIsUnwrappedForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	f := newFixture()
	bound, err := f.keyring.Wrap(session.Owner{Issuer: "corp", Subject: "alice", Client: "cli", Server: "weather"}, "up-1")
	if err != nil {
		t.Fatal(err)
	}
	header := "mcp-session-id: " + bound
	for _, verb := range []string{"POST", "GET", "DELETE"} {
		body := ""
		if verb == "POST" {
			body = callBody
		}
		set, removed, _ := allowed(t, f.check(t, request(verb, "weather", body, header)))
		if set["mcp-session-id"] != "up-1" {
			t.Errorf("%s: headers %v", verb, set)
		}
		wantRemoved(t, removed, nil, []string{"mcp-session-id"})
	}
	for name, r := range map[string]*authv3.CheckRequest{
		"another caller": request("POST", "weather", callBody, append(as("admin"), header)...),
		"another server": request("POST", "apikey", callBody, header),
		"altered":        request("POST", "weather", callBody, header+"x"),
	} {
		status, headers, body := denied(t, f.check(t, r))
		if status != 404 || headers["www-authenticate"] != "" || !strings.Contains(body, "-32001") || f.last(t).Rule != extauthz.RuleSessionUnknown {
			t.Errorf("%s: status %d, body %s, record %+v", name, status, body, f.last(t))
		}
	}
}

func TestBrokenSessionsAreAFailure(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "a b", "a\r\nb"} {
		f := newFixture()
		f.config.Sessions = sessionFunc(func(session.Owner, string) (string, error) { return id, nil })
		status, _, _ := denied(t, f.check(t, request("POST", "weather", callBody, "mcp-session-id: x")))
		if status != 503 {
			t.Errorf("upstream id %q: status %d", id, status)
		}
	}
	f := newFixture()
	f.config.Sessions = sessionFunc(func(session.Owner, string) (string, error) { return "x", errors.New("keys lost") })
	if status, _, _ := denied(t, f.check(t, request("POST", "weather", callBody, "mcp-session-id: x"))); status != 503 {
		t.Errorf("status %d", status)
	}
}

// TestExtraMetadataDoesNotDecide: rev and whatever else a route carries is
// passed over.
func TestExtraMetadataDoesNotDecide(t *testing.T) {
	t.Parallel()
	r := request("POST", "weather", callBody)
	fields := r.Attributes.RouteMetadataContext.FilterMetadata[metadataNamespace].Fields
	fields["Server"] = structpb.NewStringValue("off")
	fields["route"] = structpb.NewStringValue("plain:off@3")
	r.Attributes.MetadataContext = routeMetadata("off", 3)
	_, _, metadata := allowed(t, newFixture().check(t, r))
	if metadata["route"] != "plain:weather@3" {
		t.Errorf("metadata %v", metadata)
	}
}

// TestRevokedTokenIsRefusedBeforeItsMessageIsRead: the answer is about the
// token, so that whoever lost it learns nothing else.
func TestRevokedTokenIsRefusedBeforeItsMessageIsRead(t *testing.T) {
	t.Parallel()
	f := newFixture()
	for _, r := range []*registry.Revocation{
		{Name: "r", Subject: "alice"},
		{Name: "ended", Subject: "bob", Until: registry.Time{Time: time.Now().Add(-time.Second)}},
	} {
		f.config.Policies.Apply(registry.Event{Revision: f.config.Policies.Revision() + 1, Changes: []registry.Change{{Key: r.Key(), Resource: r}}})
	}
	for _, body := range []string{callBody, "not JSON"} {
		status, headers, _ := denied(t, f.check(t, request("POST", "weather", body)))
		if status != 401 || !strings.Contains(headers["www-authenticate"], `error="invalid_token"`) {
			t.Errorf("%s: %d %v", body, status, headers)
		}
		if r := f.last(t); r.Rule != extauthz.RuleTokenRevoked || r.Reason != "revocation r" || r.Subject != "alice" {
			t.Errorf("%s: record %+v", body, r)
		}
	}
	denied(t, f.check(t, request("POST", "weather", callBody, as("bob")...)))
	if r := f.last(t); r.Rule != extauthz.RuleScopeInsufficient {
		t.Errorf("a revocation that has ended: %+v", r)
	}
}

// TestReplyLastsNoLongerThanTheToken: the bound that Envoy gets, in
// milliseconds; never 0, which would be none.
func TestReplyLastsNoLongerThanTheToken(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for left, want := range map[time.Duration]string{
		5 * time.Minute:            "330000",
		0:                          "30000",
		-29999 * time.Millisecond:  "1",
		-30 * time.Second:          "1",
		-time.Hour:                 "1",
		100 * 365 * 24 * time.Hour: "2147483647",
	} {
		e := &exchange{start: now, caller: &extauthz.Caller{ExpiresAt: now.Add(left)}}
		if got := e.timeLeft(); got != want {
			t.Errorf("%s before its end: %s, want %s", left, got, want)
		}
	}
	e := &exchange{start: now, caller: &extauthz.Caller{}}
	if got := e.timeLeft(); got != "1" {
		t.Errorf("a token without an end: %s", got)
	}
}

// TestFilterLearnsWhatARevocationCanName: what stays of the token for as long
// as the reply lasts.
func TestFilterLearnsWhatARevocationCanName(t *testing.T) {
	t.Parallel()
	f := newFixture()
	f.config.Tokens = verifierFunc(func(context.Context, string, token.Want) (*extauthz.Caller, error) {
		return &extauthz.Caller{
			Issuer: "corp", Subject: "alice", TokenID: "t-1", SessionID: "s-1", Scopes: []string{"weather:read"},
			IssuedAt: time.Unix(1795608000, 5e8),
		}, nil
	})
	_, _, metadata := allowed(t, f.check(t, request("GET", "weather", "")))
	for name, want := range map[string]string{"token_id": "t-1", "session": "s-1", "issued_at": "2026-11-25T12:00:00.5Z"} {
		if metadata[name] != want {
			t.Errorf("%s: %q, want %q", name, metadata[name], want)
		}
	}
	// A plain reply has no filter to tell.
	_, _, metadata = allowed(t, f.check(t, request("POST", "weather", callBody)))
	if metadata["token_id"] != "" || metadata["issued_at"] != "" {
		t.Errorf("metadata of a plain reply: %v", metadata)
	}
}
