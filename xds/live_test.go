package xds_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/xds"
)

// What the built resources do in a real Envoy. The servers: weather at
// generation 3, and fwd at 4, which gets the client's token.
func startTwo(t *testing.T) *gateway {
	t.Helper()
	up := upstream(t)
	fwd := server("fwd", 4, up.URL)
	fwd.Upstream.ForwardClientToken = true
	cfg := xds.Config{AllowedOrigins: []string{"https://app.example", "http://localhost:*"}}
	return startGateway(t, cfg, server("weather", 3, up.URL+"/api/mcp"), fwd)
}

const (
	plain   = "x-test-route: plain:weather@3"
	inspect = "x-test-route: inspect:weather@3"
	origin  = "Origin: https://app.example"
)

func TestLiveOnlyADecisionForThisGenerationReachesTheUpstream(t *testing.T) {
	t.Parallel()
	g := startTwo(t)
	for _, route := range []string{"", "plain:weather@2", "plain:weather@4", "plain:weather@33", "plain:fwd@4", "inspect:weather@2", "plain:weather", "plain", "PLAIN:weather@3"} {
		r := g.do("POST", "/weather/mcp", "x-test-route: "+route)
		if r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(r.body, "no authorization decision") {
			t.Errorf("route %q: %d %s", route, r.StatusCode, r.body)
		}
		if r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Retry-After") != "1" || r.Header.Get("X-Request-Id") == "" {
			t.Errorf("route %q: headers %v", route, r.Header)
		}
	}
	if n := g.envoy.Counter("cluster.no-decision.upstream_cx_none_healthy"); n != 9 {
		t.Errorf("the alarm counter is %d, want 9", n)
	}
	for _, h := range []string{plain, inspect} {
		r := g.do("POST", "/weather/mcp", h)
		if r.StatusCode != http.StatusOK || !strings.Contains(r.body, "path=/api/mcp") {
			t.Errorf("%s: %d %s", h, r.StatusCode, r.body)
		}
	}
	if stats := g.envoy.Get("/stats?filter=cluster.s-"); stats != "" {
		t.Errorf("envoy keeps statistics of servers' clusters:\n%s", stats)
	}
}

func TestLiveHostIsThatOfTheUpstreamURL(t *testing.T) {
	t.Parallel()
	up := upstream(t)
	g := startGateway(t, xds.Config{}, server("root", 1, up.URL), server("dns", 1, strings.Replace(up.URL, "127.0.0.1", "localhost", 1)+"/a%2Fb/"))
	for path, want := range map[string]string{
		"root": "host=" + strings.TrimPrefix(up.URL, "http://") + " path=/",
		"dns":  "host=" + strings.Replace(strings.TrimPrefix(up.URL, "http://"), "127.0.0.1", "localhost", 1) + " path=/a%2Fb/",
	} {
		r := g.do("POST", "/"+path+"/mcp", "x-test-route: plain:"+path+"@1")
		if got := strings.TrimPrefix(r.body, "upstream "); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestLiveUpstreamHeadersThatActOnTheGatewayAreRemoved(t *testing.T) {
	t.Parallel()
	g := startTwo(t)
	for _, h := range []string{plain, inspect} {
		r := g.do("POST", "/weather/mcp", h)
		for _, k := range []string{"Set-Cookie", "Location", "Content-Security-Policy", "X-Powered-By", "Alt-Svc", "Www-Authenticate", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"} {
			if v := r.Header.Values(k); len(v) > 0 {
				t.Errorf("%s: the client got %s: %q", h, k, v)
			}
		}
		if r.Header.Get("Server") != "mcpgate" || r.Header.Get("Retry-After") != "7" || r.Header.Get("Mcp-Protocol-Version") != "2025-11-25" {
			t.Errorf("%s: headers %v", h, r.Header)
		}
	}
	if v := g.do("POST", "/weather/mcp", plain).Header.Values("Mcp-Session-Id"); len(v) > 0 {
		t.Errorf("a session id passed without the reply filter: %q", v)
	}
	if v := g.do("POST", "/weather/mcp", inspect).Header.Get("Mcp-Session-Id"); v != "filtered" {
		t.Errorf("the reply filter was not there: session id %q", v)
	}
}

func TestLiveUpstreamRefusalIsABadGateway(t *testing.T) {
	t.Parallel()
	g := startTwo(t)
	for _, status := range []string{"300", "301", "302", "303", "307", "308", "401", "403", "407"} {
		for _, h := range []string{plain, inspect} {
			r := g.do("POST", "/weather/mcp", h, "x-test-status: "+status, origin)
			if r.StatusCode != http.StatusBadGateway || !strings.Contains(r.body, "MCP server refused the gateway") {
				t.Errorf("%s with %s: %d %s", status, h, r.StatusCode, r.body)
			}
			if r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Mcp-Session-Id") != "" || r.Header.Get("Retry-After") != "" ||
				r.Header.Get("Access-Control-Allow-Origin") == "" || r.Header.Get("X-Request-Id") == "" {
				t.Errorf("%s with %s: headers %v", status, h, r.Header)
			}
		}
	}
	for _, status := range []string{"200", "202", "400", "404", "405", "409", "429", "500", "503"} {
		r := g.do("POST", "/weather/mcp", plain, "x-test-status: "+status)
		if r.Status[:3] != status || !strings.HasPrefix(r.body, "upstream") {
			t.Errorf("%s of the upstream arrived as %d %s", status, r.StatusCode, r.body)
		}
	}
}

func TestLiveForwardedTokenGetsTheUpstreamsOwnRefusal(t *testing.T) {
	t.Parallel()
	g := startTwo(t)
	for _, kind := range []string{"plain", "inspect"} {
		r := g.do("POST", "/fwd/mcp", "x-test-route: "+kind+":fwd@4", "x-test-status: 401")
		if r.StatusCode != http.StatusUnauthorized || r.Header.Get("Www-Authenticate") != "upstream" {
			t.Errorf("%s: %d %v", kind, r.StatusCode, r.Header)
		}
	}
}

func TestLiveRefusalOfTheAuthorizationServicePassesUnchanged(t *testing.T) {
	t.Parallel()
	g := startTwo(t)
	for _, status := range []string{"401", "403", "404", "415", "503"} {
		r := g.do("POST", "/weather/mcp", "x-test-deny: "+status, origin)
		if r.Status[:3] != status || r.body != "denied" || r.Header.Get("Www-Authenticate") != "Bearer" {
			t.Errorf("denied with %s: %d %v %s", status, r.StatusCode, r.Header, r.body)
		}
		if r.Header.Get("Access-Control-Allow-Origin") != "https://app.example" || r.Header.Get("Vary") != "Origin" {
			t.Errorf("denied with %s: headers %v", status, r.Header)
		}
	}
}

func TestLiveCORS(t *testing.T) {
	t.Parallel()
	g := startTwo(t)
	ask := func(path, origin string, asked ...string) http.Header {
		h := []string{"Origin: " + origin, "Access-Control-Request-Method: POST"}
		if len(asked) > 0 {
			h = append(h, "Access-Control-Request-Headers: "+strings.Join(asked, ","))
		}
		r := g.do("OPTIONS", path, h...)
		if r.StatusCode/100 != 2 {
			t.Errorf("preflight of %s from %s: %d", path, origin, r.StatusCode)
		}
		return r.Header
	}
	for o, allowed := range map[string]bool{
		"https://app.example": true, "http://localhost": true, "http://localhost:6274": true,
		"https://app.example:8443": false, "https://app.example.evil": false, "http://app.example": false,
		"http://localhost.evil": false, "https://evil.example": false, "null": false, "https://localhost:1": false,
	} {
		want := ""
		if allowed {
			want = o
		}
		if got := ask("/weather/mcp", o).Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("preflight from %s allows %q, want %q", o, got, want)
		}
		r := g.do("POST", "/weather/mcp", plain, "Origin: "+o)
		if got := r.Header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("answer to %s allows %q, want %q", o, got, want)
		}
		if r.Header.Get("Vary") != "Origin" {
			t.Errorf("answer to %s: Vary is %q", o, r.Header.Get("Vary"))
		}
	}
	h := ask("/weather/mcp", "https://app.example", "authorization", "mcp-param-region")
	if got := h.Get("Access-Control-Allow-Headers"); got != "authorization,mcp-param-region" {
		t.Errorf("preflight allows the headers %q", got)
	}
	if got := h.Get("Access-Control-Allow-Methods"); got != "GET, POST, DELETE, OPTIONS" {
		t.Errorf("preflight allows the methods %q", got)
	}
	if got := ask("/weather/mcp", "https://app.example").Get("Access-Control-Allow-Headers"); !strings.Contains(got, "mcp-session-id") {
		t.Errorf("preflight that asks for no headers allows %q", got)
	}
	before := g.authz.count()
	ask("/weather/mcp", "https://app.example")
	if got := ask(xds.WellKnownPath+"oauth-protected-resource/weather/mcp", "https://any.example", "mcp-protocol-version"); got.Get("Access-Control-Allow-Origin") != "*" ||
		!strings.Contains(got.Get("Access-Control-Allow-Headers"), "mcp-protocol-version") {
		t.Errorf("preflight of the metadata: %v", got)
	}
	if n := g.authz.count() - before; n != 0 {
		t.Errorf("preflights asked the authorization service %d times", n)
	}
	exposed := "WWW-Authenticate, Mcp-Session-Id, Retry-After"
	for _, headers := range [][]string{{plain}, {"x-test-deny: 401"}, {"x-test-route: none"}} {
		r := g.do("POST", "/weather/mcp", append(headers, origin)...)
		if got := r.Header.Get("Access-Control-Expose-Headers"); got != exposed {
			t.Errorf("%v exposes %q", headers, got)
		}
	}
}

func TestLiveFixedScopesDoNotAskTheAuthorizationService(t *testing.T) {
	t.Parallel()
	g := startTwo(t)
	for path, want := range map[string]string{
		"/healthz":                          "web /healthz",
		xds.WellKnownPath + "x/weather/mcp": "web " + xds.WellKnownPath + "x/weather/mcp",
	} {
		r := g.do("GET", path)
		if r.StatusCode != http.StatusOK || r.body != want {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.body)
		}
	}
	if r := g.do("GET", xds.WellKnownPath+"oauth-protected-resource/weather/mcp", origin); r.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("metadata: headers %v", r.Header)
	}
	if n := g.authz.count(); n != 0 {
		t.Errorf("the authorization service was asked %d times", n)
	}
	// The path is normalised first: a way out of .well-known is a server's.
	if g.do("GET", xds.WellKnownPath+"x/../../weather/mcp", "x-test-deny: 403"); g.authz.count() != 1 {
		t.Error("a path that leads out of .well-known was not judged")
	}
}

func TestLiveOtherPathsAndHostsAreUnknown(t *testing.T) {
	t.Parallel()
	g := startTwo(t)
	want := `{"error":{"code":-32001,"message":"no such MCP server"},"id":null,"jsonrpc":"2.0"}` + "\n"
	for _, path := range []string{"/", "/weather", "/weather/", "/weather/mcp/", "/WEATHER/mcp", "/other/mcp", "/healthz/x", "/.well-known"} {
		r := g.do("POST", path, plain)
		if diff := cmp.Diff(want, r.body); r.StatusCode != http.StatusNotFound || diff != "" {
			t.Errorf("%s: %d %s", path, r.StatusCode, diff)
		}
	}
	for _, host := range []string{"evil.test", "127.0.0.1,evil.test", "localhost."} {
		if r := g.do("POST", "/weather/mcp", plain, "Host: "+host); r.StatusCode != http.StatusNotFound {
			t.Errorf("Host %s: %d %s", host, r.StatusCode, r.body)
		}
	}
	for _, host := range []string{"localhost", "LOCALHOST:99", "127.0.0.1:1", "[::1]:8080"} {
		if r := g.do("POST", "/weather/mcp", plain, "Host: "+host); r.StatusCode != http.StatusOK {
			t.Errorf("Host %s: %d %s", host, r.StatusCode, r.body)
		}
	}
	if n := g.authz.count(); n != 4 {
		t.Errorf("the authorization service was asked %d times, want 4", n)
	}
}

func TestLiveUpstreamThatIsNotThereIsABadGateway(t *testing.T) {
	t.Parallel()
	g := startGateway(t, xds.Config{}, server("gone", 1, "http://127.0.0.1:9"), server("nodns", 1, "http://nowhere.invalid/mcp"))
	for _, name := range []string{"gone", "nodns"} {
		r := g.do("POST", "/"+name+"/mcp", "x-test-route: plain:"+name+"@1")
		if r.StatusCode != http.StatusBadGateway || !strings.Contains(r.body, "MCP server unavailable") {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.body)
		}
	}
}

func TestLiveBothGenerationsAreServedSideBySide(t *testing.T) {
	t.Parallel()
	up := upstream(t)
	old, cur := server("weather", 3, up.URL+"/old"), server("weather", 5, up.URL+"/new")
	g := startGatewayVersions(t, xds.Config{}, [][]*registry.Server{{old, cur}})
	for route, path := range map[string]string{"plain:weather@3": "/old", "plain:weather@5": "/new", "inspect:weather@3": "/old", "inspect:weather@5": "/new"} {
		if r := g.do("POST", "/weather/mcp", "x-test-route: "+route); !strings.HasSuffix(r.body, "path="+path) {
			t.Errorf("%s: %d %s", route, r.StatusCode, r.body)
		}
	}
}
