package extauthz

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/registry"
)

func explainable() *Policies {
	return compiled([]registry.Resource{
		&registry.Server{Name: "weather", Access: registry.Access{Issuers: []string{"corp"}}},
		&registry.Scope{Name: "read", Rules: []registry.Rule{
			{Servers: []string{"weather"}, Prompts: []registry.Pattern{"today"}},
			{Servers: []string{"weather"}, Tools: []registry.Pattern{"*", "get_*"}, Resources: []registry.Pattern{"w://*"}},
		}},
		&registry.Scope{Name: "write", Rules: []registry.Rule{{Servers: []string{"weather"}, Prompts: []registry.Pattern{"*"}, Methods: []string{"x/y"}}}},
		&registry.Scope{Name: "any", Rules: []registry.Rule{{Servers: []string{"*"}, Prompts: []registry.Pattern{"*"}}}},
		&registry.Scope{Name: "role", Includes: []string{"read"}},
		&registry.Group{Name: "users", Issuer: "corp", Scopes: []string{"role"}},
		&registry.Group{Name: "partners", Issuer: "partner", Scopes: []string{"write"}},
	})
}

func TestExplain(t *testing.T) {
	t.Parallel()
	p := explainable()
	for _, c := range []struct {
		name string
		q    Query
		want string
	}{
		{
			"a tool, from the token",
			Query{Server: "weather", Method: "tools/call", Target: "get_x", Caller: Caller{Scopes: []string{"read", "unknown"}}},
			`{"allow":true,"rule":"granted","granted":{"scope":"read","rule":1,"pattern":"get_*","via":"token"},"scopes":["read"],"revision":1}`,
		},
		{
			"a prompt, from a group that includes the scope",
			Query{Server: "weather", Method: "prompts/get", Target: "today", Caller: Caller{Groups: []string{"users"}}},
			`{"allow":true,"rule":"granted","granted":{"scope":"read","rule":0,"pattern":"today","via":"group users, included in role"},"scopes":["read"],"revision":1}`,
		},
		{
			"a method of the modern era",
			Query{Server: "weather", Method: "server/discover", Caller: Caller{Scopes: []string{"role"}}},
			`{"allow":true,"rule":"granted","granted":{"scope":"read","rule":0,"via":"token, included in role"},"scopes":["read"],"revision":1}`,
		},
		{
			"a further method",
			Query{Server: "weather", Method: "x/y", Caller: Caller{Scopes: []string{"write"}}},
			`{"allow":true,"rule":"granted","granted":{"scope":"write","rule":0,"pattern":"x/y","via":"token"},"scopes":["write"],"revision":1}`,
		},
		{
			"a completion of a resource",
			Query{Server: "weather", Method: "completion/complete", Target: "w://x", Caller: Caller{Scopes: []string{"read"}}},
			`{"allow":true,"rule":"granted","granted":{"scope":"read","rule":1,"pattern":"w://*","via":"token"},"scopes":["read"],"revision":1}`,
		},
		{
			"subscriptions",
			Query{Server: "weather", Method: "subscriptions/listen", Target: "w://a w://b", Caller: Caller{Scopes: []string{"read"}}},
			`{"allow":true,"rule":"granted","granted":{"scope":"read","rule":1,"pattern":"w://*","via":"token"},"scopes":["read"],"revision":1}`,
		},
		{
			"the stream",
			Query{Server: "weather", Method: "GET", Caller: Caller{Scopes: []string{"any"}}},
			`{"allow":true,"rule":"granted","granted":{"scope":"any","rule":0,"via":"token"},"scopes":["any"],"revision":1}`,
		},
		{
			"a denial that scopes would change",
			Query{Server: "weather", Method: "prompts/get", Target: "other", Caller: Caller{Scopes: []string{"read"}, Groups: []string{"partners"}}},
			`{"allow":false,"rule":"scope-insufficient","reason":"the caller's scopes do not grant prompt \"other\"","status":403,` +
				`"needs":["write"],"alternatives":["write","any"],` +
				`"challenge":"Bearer error=\"insufficient_scope\", scope=\"write\", resource_metadata=\"https://gw.example.com/.well-known/oauth-protected-resource/weather/mcp\"",` +
				`"scopes":["read"],"revision":1}`,
		},
		{
			"a denial that nothing would change",
			Query{Server: "weather", Method: "resources/read", Target: "v://x", Caller: Caller{Scopes: []string{"read"}}},
			`{"allow":false,"rule":"no-scope-helps","reason":"no scope grants resource \"v://x\"","status":403,"scopes":["read"],"revision":1}`,
		},
		{
			"a token of another issuer",
			Query{Server: "weather", Method: "ping", Caller: Caller{Issuer: "partner", Scopes: []string{"read"}}},
			`{"allow":false,"rule":"token-issuer","reason":"the server does not accept tokens of issuer \"partner\"","status":401,` +
				`"needs":["read","write"],` +
				`"challenge":"Bearer error=\"invalid_token\", scope=\"read write\", resource_metadata=\"https://gw.example.com/.well-known/oauth-protected-resource/weather/mcp\", error_description=\"the issuer is not accepted\"",` +
				`"scopes":["read"],"revision":1}`,
		},
		{
			"no target",
			Query{Server: "weather", Method: "tools/call", Caller: Caller{Scopes: []string{"read"}}},
			`{"allow":false,"rule":"target-missing","reason":"method \"tools/call\" without its target","status":400,"scopes":["read"],"revision":1}`,
		},
		{
			"an unknown server",
			Query{Server: "nowhere", Method: "ping"},
			`{"allow":false,"rule":"server-unknown","reason":"no enabled server has this name","status":404,"revision":1}`,
		},
	} {
		got, err := json.Marshal(p.Explain(c.q))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestExplainKnowsEveryMethod: no method of the table is asked about in a form
// that the gateway refuses as malformed.
func TestExplainKnowsEveryMethod(t *testing.T) {
	t.Parallel()
	p := explainable()
	for _, m := range Methods() {
		e := p.Explain(Query{Server: "weather", Method: m.Name, Target: "t", Caller: Caller{Scopes: []string{"read", "write"}}})
		switch e.Rule {
		case RuleGranted, RuleNoScopeHelps, RuleTaskNotBound, RuleTaskNotBoundLegacy, RuleTasksList:
		case RuleMethodUnknown:
			if m.Grant != GrantMethods {
				t.Errorf("%s: %+v", m.Name, e)
			}
		default:
			t.Errorf("%s: %+v", m.Name, e)
		}
	}
}
