package check

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
	"github.com/mcpgate/mcpgate/extauthz/token"
)

// TestOverload: the check that comes when as many are under way as may be is
// refused with 503 and not judged; when one has ended, the next one is.
func TestOverload(t *testing.T) {
	t.Parallel()
	const limit = 3
	f := newFixture()
	f.config.Audit = nil
	f.config.MaxInFlight = limit
	entered, leave := make(chan struct{}, limit+1), make(chan struct{})
	f.config.Tokens = verifierFunc(func(ctx context.Context, raw string, want token.Want) (*extauthz.Caller, error) {
		if raw == "alice" {
			entered <- struct{}{}
			<-leave
		}
		return callers["admin"], nil
	})
	server := New(f.config)
	g := grpc.NewServer(ServerOptions()...)
	server.Register(g)
	client := authv3.NewAuthorizationClient(serve(t, g))

	var wg sync.WaitGroup
	for range limit {
		wg.Go(func() {
			r, err := client.Check(t.Context(), request("POST", "weather", callBody))
			if err != nil {
				t.Error(err)
				return
			}
			allowed(t, r) // at the limit
		})
	}
	for range limit {
		<-entered
	}
	if n := server.Metrics().InFlight; n != limit {
		t.Errorf("%d checks in flight, not %d", n, limit)
	}
	r, err := client.Check(t.Context(), request("POST", "weather", callBody, as("bob")...))
	if err != nil {
		t.Fatal(err)
	}
	status, headers, _ := denied(t, r)
	if status != 503 || headers["retry-after"] == "" || r.GetDynamicMetadata().GetFields()["rule"].GetStringValue() != string(extauthz.RuleOverload) {
		t.Errorf("above the limit: status %d, headers %v, metadata %v", status, headers, r.GetDynamicMetadata())
	}
	close(leave)
	wg.Wait()
	r, err = client.Check(t.Context(), request("POST", "weather", callBody, as("bob")...))
	if err != nil {
		t.Fatal(err)
	}
	allowed(t, r)

	m := server.Metrics()
	if got := decisions(m); got[EffectFail+" "+string(extauthz.RuleOverload)] != 1 || got[EffectAllow+" "+string(extauthz.RuleGranted)] != limit+1 {
		t.Errorf("counted %v", got)
	}
	if m.InFlight != 0 || m.Latency.Count != limit+2 || m.Latency.Sum <= 0 {
		t.Errorf("metrics %+v", m)
	}
}

func decisions(m Metrics) map[string]uint64 {
	out := map[string]uint64{}
	for _, c := range m.Decisions {
		out[c.Effect+" "+string(c.Rule)] = c.N
	}
	return out
}

func TestBodyLimitsAreThoseOfTheConfig(t *testing.T) {
	t.Parallel()
	f := newFixture()
	f.config.Body = rpcbody.Limits{Depth: 5, Name: len("get_forecast")}
	deep := func(n int) string {
		return strings.Replace(callBody, "{}", strings.Repeat("[", n-2)+strings.Repeat("]", n-2), 1)
	}
	allowed(t, f.check(t, request("POST", "weather", deep(5))))
	for rule, body := range map[string]string{
		rpcbody.RuleDepth:        deep(6),
		rpcbody.RuleMemberLength: strings.Replace(callBody, "get_forecast", "get_forecasts", 1),
	} {
		status, _, _ := denied(t, f.check(t, request("POST", "weather", body)))
		if got := f.last(t).Rule; status != 400 || string(got) != rule {
			t.Errorf("status %d, rule %s, want %s", status, got, rule)
		}
	}
}

// TestMetricsHaveARuleForEachRefusal: every rule that a check can end with has
// its own place, so that none is counted as "other".
func TestMetricsHaveARuleForEachRefusal(t *testing.T) {
	t.Parallel()
	s := New(newFixture().config)
	m := &s.meter
	for _, r := range append(extauthz.Rules(), extauthz.RuleGranted) {
		if m.rules[r] == nil {
			t.Errorf("no place for %s", r)
		}
	}
	m.observe(EffectDeny, "a-rule-of-tomorrow", time.Hour)
	m.observe(EffectAllow, extauthz.RuleGranted, 50*time.Microsecond)
	m.observe(EffectAllow, extauthz.RuleGranted, 51*time.Microsecond)
	got := s.Metrics()
	if d := decisions(got); d["deny other"] != 1 || d["allow granted"] != 2 || len(d) != 2 {
		t.Errorf("decisions %v", d)
	}
	h := got.Latency
	if h.Count != 3 || h.Buckets[0] != 1 || h.Buckets[1] != 2 || h.Buckets[len(h.Buckets)-1] != 2 {
		t.Errorf("latency %+v", h)
	}
}
