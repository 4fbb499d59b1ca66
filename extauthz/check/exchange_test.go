package check

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/mcpgate/mcpgate/extauthz"
	tokenexchange "github.com/mcpgate/mcpgate/extauthz/exchange"
	"github.com/mcpgate/mcpgate/registry"
)

type exchangerFunc func(context.Context, tokenexchange.Request) (string, error)

func (f exchangerFunc) Token(ctx context.Context, r tokenexchange.Request) (string, error) {
	return f(ctx, r)
}

// withExchange gives the weather server's upstream an exchange.
func withExchange(f *fixture, token func(context.Context, tokenexchange.Request) (string, error)) {
	server := &registry.Server{
		Name: "weather", Metadata: registry.Metadata{Revision: 10, Generation: generation},
		Upstream: registry.Upstream{
			URL:      "https://weather.internal/mcp",
			Exchange: &registry.Exchange{TokenURL: "https://as.example.com/token", ClientID: "gateway", ClientSecret: "env:SECRET"},
		},
	}
	f.config.Policies.Apply(registry.Event{Revision: 10, Changes: []registry.Change{{Key: server.Key(), Resource: server}}})
	f.config.Exchanges = nil
	if token != nil {
		f.config.Exchanges = exchangerFunc(token)
	}
}

func TestUpstreamGetsTheExchangedToken(t *testing.T) {
	t.Parallel()
	f := newFixture()
	var asked []tokenexchange.Request
	withExchange(f, func(_ context.Context, r tokenexchange.Request) (string, error) {
		asked = append(asked, r)
		return "exchanged", nil
	})
	for _, r := range []string{"POST", "GET", "DELETE"} {
		body := ""
		if r == "POST" {
			body = callBody
		}
		set, removed, _ := allowed(t, f.check(t, request(r, "weather", body)))
		if set["authorization"] != "Bearer exchanged" || slices.Contains(removed, "authorization") || !slices.Contains(removed, "cookie") {
			t.Errorf("%s: headers %v, removed %v", r, set, removed)
		}
	}
	if len(asked) != 3 || asked[0].Token != "alice" || asked[0].Server != "weather" || asked[0].Generation != generation ||
		asked[0].Caller.Subject != "alice" || asked[0].Exchange.ClientID != "gateway" {
		t.Errorf("asked %+v", asked)
	}
	// What is refused is not traded.
	denied(t, f.check(t, request("POST", "weather", callBody, as("bob")...)))
	if len(asked) != 3 {
		t.Errorf("a refused request was traded: %+v", asked[3])
	}
}

// TestFailedExchangeReachesNoUpstream: no failure of any kind ends with the
// client's token, or with none, at the upstream.
func TestFailedExchangeReachesNoUpstream(t *testing.T) {
	t.Parallel()
	fail := func(err error) func(context.Context, tokenexchange.Request) (string, error) {
		return func(context.Context, tokenexchange.Request) (string, error) { return "", err }
	}
	say := func(token string) func(context.Context, tokenexchange.Request) (string, error) {
		return func(context.Context, tokenexchange.Request) (string, error) { return token, nil }
	}
	for name, tt := range map[string]struct {
		token  func(context.Context, tokenexchange.Request) (string, error)
		status int
		rule   extauthz.Rule
	}{
		"pending":      {fail(&tokenexchange.Error{Rule: extauthz.RuleExchangePending}), 503, extauthz.RuleExchangePending},
		"unavailable":  {fail(&tokenexchange.Error{Rule: extauthz.RuleExchangeUnavailable}), 503, extauthz.RuleExchangeUnavailable},
		"refused":      {fail(&tokenexchange.Error{Rule: extauthz.RuleExchangeRefused}), 502, extauthz.RuleExchangeRefused},
		"overload":     {fail(&tokenexchange.Error{Rule: extauthz.RuleOverload}), 503, extauthz.RuleOverload},
		"other error":  {fail(errors.New("x")), 503, extauthz.RuleInternal},
		"unknown rule": {fail(&tokenexchange.Error{Rule: "x"}), 503, "x"},
		"no token":     {say(""), 503, extauthz.RuleInternal},
		"line break":   {say("a\r\nb"), 503, extauthz.RuleInternal},
		"blank":        {say("a b"), 503, extauthz.RuleInternal},
		"nobody asked": {nil, 503, extauthz.RuleInternal},
		"panic":        {func(context.Context, tokenexchange.Request) (string, error) { panic("x") }, 503, extauthz.RulePanic},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture()
			withExchange(f, tt.token)
			status, headers, body := denied(t, f.check(t, request("POST", "weather", callBody)))
			if status != tt.status || (headers["retry-after"] != "") != (status == 503) || !strings.Contains(body, `"id":7`) {
				t.Errorf("%d %v %s", status, headers, body)
			}
			if r := f.last(t); r.Rule != tt.rule || r.Effect != EffectFail || r.Status != tt.status {
				t.Errorf("record %+v", r)
			}
		})
	}
}
