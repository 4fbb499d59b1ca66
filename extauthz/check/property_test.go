package check

import (
	"context"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
	"github.com/mcpgate/mcpgate/extauthz/token"
)

// oracle says, from a parsed request and by the shortest way, whether the
// request may be allowed. It knows nothing of views, guards and answers.
func oracle(f *fixture, r *authv3.CheckRequest) bool {
	h := r.GetAttributes().GetRequest().GetHttp()
	all := func(name string) (values []string) {
		for _, hv := range h.GetHeaderMap().GetHeaders() {
			if hv.GetKey() == name {
				values = append(values, string(hv.GetRawValue()))
			}
		}
		return values
	}
	field := func(name string) rpcbody.Field {
		if v := all(name); len(v) > 0 {
			return rpcbody.Field{Value: v[0], Present: true}
		}
		return rpcbody.Field{}
	}
	meta := r.GetAttributes().GetRouteMetadataContext().GetFilterMetadata()["mcpgate"].GetFields()
	policy, ok := f.config.Policies.Server(meta["server"].GetStringValue())
	if !ok || float64(policy.Generation) != meta["generation"].GetNumberValue() {
		return false
	}
	auth := all("authorization")
	if len(auth) != 1 {
		return false
	}
	raw, _ := bearer(auth[0])
	caller, err := f.config.Tokens.Verify(context.Background(), raw, token.Want{})
	if err != nil || caller == nil || caller.Subject == "" {
		return false
	}
	q := extauthz.Request{
		Verb:     h.GetMethod(),
		Mirrored: extauthz.Mirrored{Method: field("mcp-method"), Name: field("mcp-name"), Version: field("mcp-protocol-version")},
		Resume:   h.GetMethod() == "GET",
	}
	if q.Verb == "POST" {
		q.Message = &rpcbody.Message{}
		if int64(len(h.GetRawBody())) != h.GetSize() || rpcbody.Read(h.GetRawBody(), q.Message) != nil {
			return false
		}
	}
	return extauthz.Decide(policy, q, caller).Allow
}

// TestOnlyADecisionAllows: there is no answer with code 0 but for a request
// that Decide allows, and each leads to the server and the generation of the
// route that the request arrived at.
func TestOnlyADecisionAllows(t *testing.T) {
	t.Parallel()
	f := newFixture()
	allows := 0
	rapid.Check(t, func(t *rapid.T) {
		pick := func(label string, values ...string) string { return rapid.SampledFrom(values).Draw(t, label) }
		often := func(label string) bool { return rapid.IntRange(0, 3).Draw(t, label) > 0 }
		verb := pick("verb", "POST", "POST", "POST", "GET", "DELETE", "PUT")
		server := pick("server", "weather", "weather", "credential", "off", "nowhere", "")
		body := ""
		if verb == "POST" || rapid.Bool().Draw(t, "body anyway") {
			body = pick("body", callBody, callBody, listBody, initBody, strings.Replace(callBody, "get_forecast", "set_alert", 1), "{", "", callBody+callBody)
		}
		r := request(verb, server, body)
		h := r.GetAttributes().GetRequest().GetHttp()
		if !often("untouched") {
			names := []string{
				"authorization", "content-type", "content-encoding", "origin", "mcp-name", "mcp-method", "mcp-session-id",
				"mcp-protocol-version", "last-event-id", "x-envoy-auth-partial-body",
			}
			for range rapid.IntRange(0, 3).Draw(t, "headers") {
				h.HeaderMap.Headers = append(h.HeaderMap.Headers, &corev3.HeaderValue{
					Key: rapid.SampledFrom(names).Draw(t, "name"),
					RawValue: []byte(rapid.OneOf(rapid.SampledFrom([]string{
						"Bearer alice", "application/json", "identity", "https://app.example", "tools/call", "get_forecast", "2025-11-25", "false", "true",
					}), rapid.String()).Draw(t, "value")),
				})
			}
			if n := len(h.HeaderMap.Headers); rapid.Bool().Draw(t, "drop one") {
				i := rapid.IntRange(0, n-1).Draw(t, "which")
				h.HeaderMap.Headers = append(h.HeaderMap.Headers[:i], h.HeaderMap.Headers[i+1:]...)
			}
		}
		for _, hv := range h.HeaderMap.Headers {
			if hv.Key == "authorization" {
				hv.RawValue = []byte("Bearer " + pick("token", "alice", "alice", "alice", "bob", "group", "admin", "expired", "keys", "broken", "nil", "panic", "nobody", "injection", ""))
			}
		}
		if !often("size right") {
			h.Size += rapid.Int64Range(-2, 2).Draw(t, "size")
		}
		if !often("generation right") {
			r.Attributes.RouteMetadataContext = routeMetadata(server, rapid.Float64().Draw(t, "generation"))
		}

		response := checkWire(t, f, r)
		if response.GetStatus().GetCode() == 0 {
			allows++
			if !oracle(f, r) {
				t.Fatalf("allowed against the decision: %v", r)
			}
			route := response.GetDynamicMetadata().GetFields()["route"].GetStringValue()
			if want := ":" + server + "@3"; strings.TrimPrefix(strings.TrimPrefix(route, "inspect"), "plain") != want {
				t.Fatalf("route %q for server %s", route, server)
			}
			if response.GetOkResponse() == nil || len(response.GetOkResponse().GetHeaders()) == 0 {
				t.Fatalf("an allow that changes no header: %v", response)
			}
			return
		}
		if s := response.GetDeniedResponse().GetStatus().GetCode(); s < 200 || s > 599 {
			t.Fatalf("refusal with status %d", s)
		}
		if response.GetDynamicMetadata().GetFields()["route"] != nil {
			t.Fatalf("refusal with a route: %v", response)
		}
	})
	if allows == 0 {
		t.Error("nothing was allowed: the property holds for nothing")
	}
}

func checkWire(t interface{ Fatalf(string, ...any) }, f *fixture, r *authv3.CheckRequest) *authv3.CheckResponse {
	b, err := proto.Marshal(r)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	wire, err := f.exchange(context.Background(), b)
	if err != nil {
		t.Fatalf("Check: %v", err)
	}
	return unmarshalResponse(t, wire)
}

// FuzzCheck: no bytes at all are allowed, but those of a request with a valid
// token for the server and generation of its route.
func FuzzCheck(f *testing.F) {
	for _, r := range []*authv3.CheckRequest{
		fullRequest(), request("POST", "weather", callBody), request("POST", "weather", listBody), request("GET", "weather", ""),
		request("POST", "weather", callBody, "-authorization"),
	} {
		f.Add(marshal(f, r))
	}
	for i := range refusals {
		f.Add(marshal(f, refusals[i].request))
	}
	fix := newFixture()
	fix.config.Audit = nil
	f.Fuzz(func(t *testing.T, b []byte) {
		wire, err := fix.exchange(t.Context(), b)
		if err != nil {
			t.Fatalf("Check: %v", err)
		}
		response := unmarshalResponse(t, wire)
		if response.GetStatus().GetCode() != 0 {
			denied(t, response)
			return
		}
		_, _, metadata := allowed(t, response)
		var r authv3.CheckRequest
		if err := (proto.UnmarshalOptions{}).Unmarshal(b, &r); err != nil {
			// The fault is in a field that is not read; leave those alone that are.
			var v view
			if v.decode(b) != nil {
				t.Fatalf("allowed what cannot be read: %x", b)
			}
			return
		}
		if !oracle(fix, &r) {
			t.Fatalf("allowed against the decision: %v", &r)
		}
		server := r.GetAttributes().GetRouteMetadataContext().GetFilterMetadata()["mcpgate"].GetFields()["server"].GetStringValue()
		if !strings.HasSuffix(metadata["route"], ":"+server+"@3") {
			t.Fatalf("route %q for server %q", metadata["route"], server)
		}
	})
}
