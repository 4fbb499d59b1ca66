package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/demo"
	"github.com/mcpgate/mcpgate/extauthz"
)

// persona is what a token says that its holder may do.
type persona struct {
	scopes string
	groups []string
}

func personas() map[string]persona {
	return map[string]persona{
		"nothing":   {},
		"other":     {scopes: "mail:read Weather:Read"},
		"connect":   {scopes: "weather:connect"},
		"read":      {scopes: "weather:read"},
		"write":     {scopes: "weather:write mail:read"},
		"tools":     {scopes: "weather:tools"},
		"skills":    {scopes: "weather:skills"},
		"users":     {groups: []string{"/lob1/users"}},
		"admins":    {groups: []string{"admins", "unknown"}},
		"strangers": {groups: []string{"strangers", "/lob1"}},
	}
}

// callers are tokens of the personas.
func (g *gateway) callers() map[string]string {
	tokens := map[string]string{}
	for name, p := range personas() {
		tokens[name] = g.token(name, p.scopes, demo.Claims{"groups": append([]string{}, p.groups...)})
	}
	return tokens
}

func TestScopes(t *testing.T) {
	t.Parallel()
	g := start(t, unhurried)
	kinds := variants()
	echoing := &noter{seen: map[string]bool{}}
	documents := serverDoc("echo", serve(t, echoing))
	for name, opt := range kinds {
		documents += serverDoc(name, serve(t, mcpHandler(opt)))
	}
	g.apply(documents + weatherPolicy(append(slices.Sorted(maps.Keys(kinds)), "echo")...))

	t.Run("CallAndChallenge", func(t *testing.T) { testCallAndChallenge(t, g.in(t)) })
	for name := range kinds {
		t.Run("Lists/"+name, func(t *testing.T) {
			t.Parallel()
			testLists(t, g.in(t), name)
		})
	}
	t.Run("ExplainAgrees", func(t *testing.T) {
		t.Parallel()
		testExplainAgrees(t, g.in(t), echoing)
	})
	t.Run("Unauthorized", func(t *testing.T) { testUnauthorized(t, g.in(t)) })
	t.Run("Metadata", func(t *testing.T) { testMetadata(t, g.in(t)) })
}

// A scope of the token and one of a group allow the same, and the refusal
// names the scope that would help.
func testCallAndChallenge(t *testing.T, g *gateway) {
	tokens := g.callers()
	prm := fmt.Sprintf(`resource_metadata="%s/.well-known/oauth-protected-resource/json/mcp"`, g.url)
	for _, caller := range []string{"read", "users"} {
		if a := g.post("json", tokens[caller], call("get_forecast")); a.status != http.StatusOK || !strings.Contains(a.body, "get_forecast of Oslo") {
			t.Errorf("%s, get_forecast: %d %s", caller, a.status, a.body)
		}
		a := g.post("json", tokens[caller], call("set_alert"))
		challenge := a.header.Get("WWW-Authenticate")
		if a.status != http.StatusForbidden || !strings.HasPrefix(challenge, "Bearer ") ||
			!strings.Contains(challenge, `error="insufficient_scope"`) || !strings.Contains(challenge, `scope="weather:write"`) ||
			!strings.Contains(challenge, prm) {
			t.Errorf("%s, set_alert: %d, challenge %s", caller, a.status, challenge)
		}
		if id := a.json(t)["id"]; id != 1.0 {
			t.Errorf("%s, set_alert: the refusal has the id %v", caller, id)
		}
	}
	for _, caller := range []string{"write", "admins", "tools"} {
		g.want("json", tokens[caller], http.StatusOK)
		if a := g.post("json", tokens[caller], call("set_alert")); a.status != http.StatusOK {
			t.Errorf("%s, set_alert: %d %s", caller, a.status, a.body)
		}
	}
	// Matching is byte for byte, and a group of another issuer is not the
	// caller's.
	for _, caller := range []string{"nothing", "other", "connect", "strangers"} {
		g.want("json", tokens[caller], http.StatusForbidden)
	}
	for _, tool := range []string{"Get_forecast", "get_forecast ", "get_forecast_x", "lis", "xlist_alerts"} {
		if a := g.post("json", tokens["read"], call(tool)); a.status != http.StatusForbidden {
			t.Errorf("tool %q: %d %s", tool, a.status, a.body)
		}
	}
}

// Every list shows what the caller may use, in every form of reply.
func testLists(t *testing.T, g *gateway, server string) {
	type lists map[string][]string
	all := lists{
		"tools/list":               {"get_forecast", "list_alerts", "set_alert"},
		"prompts/list":             {"brief", "secret"},
		"resources/list":           {"vault://today", "weather://today"},
		"resources/templates/list": {"vault://places/{place}", "weather://places/{place}"},
	}
	none := lists{"tools/list": {}, "prompts/list": {}, "resources/list": {}, "resources/templates/list": {}}
	read := lists{
		"tools/list":               {"get_forecast", "list_alerts"},
		"prompts/list":             {"brief"},
		"resources/list":           {"weather://today"},
		"resources/templates/list": {"weather://places/{place}"},
	}
	with := func(l, changed lists) lists {
		c := maps.Clone(l)
		maps.Copy(c, changed)
		return c
	}
	want := map[string]lists{
		"connect": none,
		"read":    read,
		"users":   read,
		"write":   with(read, lists{"tools/list": all["tools/list"]}),
		"tools":   with(none, lists{"tools/list": all["tools/list"]}),
	}
	for caller, expected := range want {
		token := g.callers()[caller]
		var header []string
		if strings.HasPrefix(server, "session") {
			header = append(header, g.initialize(server, token))
		}
		got := lists{}
		for method := range all {
			got[method] = listed(t, g.post(server, token, `{"jsonrpc":"2.0","id":"l","method":"`+method+`"}`, header...), method)
		}
		if diff := cmp.Diff(expected, got); diff != "" {
			t.Errorf("lists of %s for %s (-want +got):\n%s", server, caller, diff)
		}
	}
	if a := g.post(server, g.callers()["nothing"], `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`); a.status != http.StatusForbidden {
		t.Errorf("tools/list without a scope: %d %s", a.status, a.body)
	}
}

// noter is an upstream that notes which requests reached it.
type noter struct {
	mu   sync.Mutex
	seen map[string]bool
}

// ServeHTTP implements http.Handler.
func (n *noter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	n.seen[r.Header.Get("X-Case")] = true
	n.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
	}
	w.Header().Set("Content-Type", "application/json")
	switch err := json.Unmarshal(body, &m); {
	case r.Method == http.MethodGet:
		w.Header().Set("Content-Type", "text/event-stream")
	case err == nil && len(m.ID) == 0:
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodPost:
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"tools":[],"prompts":[],"resources":[],"resourceTemplates":[]}}`, m.ID)
	}
}

func (n *noter) reached(id string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.seen[id]
}

// operation is one thing to do on a server.
type operation struct {
	method, target, params string
	modern                 bool
}

func operations() []operation {
	ops := []operation{{method: "GET"}, {method: "DELETE"}}
	for _, m := range []string{
		"initialize", "ping", "tools/list", "prompts/list", "resources/list", "resources/templates/list", "notifications/initialized",
		"notifications/anything", "tasks/list", "no/such", "tools/Call", "sampling/createMessage",
	} {
		ops = append(ops, operation{method: m, params: `{}`})
	}
	ops = append(ops, operation{method: "logging/setLevel", params: `{"level":"info"}`})
	for _, modern := range []bool{false, true} {
		for _, tool := range []string{"get_forecast", "list_", "list_x", "set_alert", "no such", "*"} {
			ops = append(ops, operation{"tools/call", tool, fmt.Sprintf(`{"name":%q,"arguments":{}}`, tool), modern})
		}
		for _, prompt := range []string{"brief", "secret"} {
			ops = append(ops, operation{"prompts/get", prompt, fmt.Sprintf(`{"name":%q}`, prompt), modern},
				operation{"completion/complete", prompt, fmt.Sprintf(`{"ref":{"type":"ref/prompt","name":%q},"argument":{"name":"a","value":"b"}}`, prompt), modern})
		}
		for _, uri := range []string{"weather://today", "vault://today", "weather:/"} {
			ops = append(ops, operation{"resources/read", uri, fmt.Sprintf(`{"uri":%q}`, uri), modern})
		}
		for _, uri := range []string{"weather://{place}", "vault://{place}"} {
			ops = append(ops, operation{"completion/complete", uri, fmt.Sprintf(`{"ref":{"type":"ref/resource","uri":%q},"argument":{"name":"a","value":"b"}}`, uri), modern})
		}
	}
	for _, uri := range []string{"weather://today", "vault://today"} {
		ops = append(ops, operation{method: "resources/subscribe", target: uri, params: fmt.Sprintf(`{"uri":%q}`, uri)},
			operation{method: "resources/unsubscribe", target: uri, params: fmt.Sprintf(`{"uri":%q}`, uri)})
	}
	return append(ops,
		operation{"server/discover", "", `{}`, true},
		operation{"tools/list", "", `{}`, true},
		operation{"skills/list", "", `{}`, true},
		operation{"skills/get", "", `{}`, true},
		operation{"notifications/cancelled", "", `{"requestId":1}`, true},
		operation{"subscriptions/listen", "", `{"notifications":{"toolsListChanged":true}}`, true},
		operation{"subscriptions/listen", "weather://a weather://b", `{"notifications":{"resourceSubscriptions":["weather://a","weather://b"]}}`, true},
		operation{"subscriptions/listen", "weather://a vault://b", `{"notifications":{"resourceSubscriptions":["weather://a","vault://b"]}}`, true},
		// explain asks in the oldest form that a method has, and an unknown task is
		// refused otherwise in the newest.
		operation{"tasks/get", "t1", `{"taskId":"t1"}`, false},
	)
}

// send does the operation on a server.
func (o operation) send(g *gateway, server, token, id string) answer {
	g.Helper()
	if o.method == http.MethodGet || o.method == http.MethodDelete {
		req, err := http.NewRequest(o.method, g.url+"/"+server+"/mcp", nil)
		if err != nil {
			g.Fatal(err)
		}
		req.Header.Set("Accept", "text/event-stream")
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("X-Case", id)
		return g.do(req)
	}
	header := []string{"X-Case: " + id}
	params, rpcID := o.params, `"id":7,`
	if strings.HasPrefix(o.method, "notifications/") {
		rpcID = ""
	}
	if o.modern {
		header = append(header, "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: "+o.method)
		if m, ok := extauthz.LookupMethod(o.method); ok && m.NameRequired {
			header = append(header, "Mcp-Name: "+o.target)
		}
		meta := `{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
		if params != "{}" {
			meta += ","
		}
		params = meta + params[1:]
	}
	return g.post(server, token, fmt.Sprintf(`{"jsonrpc":"2.0",%s"method":%q,"params":%s}`, rpcID, o.method, params), header...)
}

// What explain says is what the gateway does: the decision, and on a refusal
// the status and the challenge.
func testExplainAgrees(t *testing.T, g *gateway, upstream *noter) {
	allowed, refused := 0, 0
	for caller, token := range g.callers() {
		file := filepath.Join(t.TempDir(), "token")
		g.write(file, token+"\n")
		for i, op := range operations() {
			id := fmt.Sprintf("%s-%d", caller, i)
			name := fmt.Sprintf("%s: %s %q (modern: %t)", caller, op.method, op.target, op.modern)
			a := op.send(g, "echo", token, id)
			e := g.explain(op, "--token-file", file)
			p := personas()[caller]
			imagined := g.explain(op, "--issuer", "corp", "--scopes", p.scopes, "--groups", strings.Join(p.groups, ","))
			if diff := cmp.Diff(e, imagined); diff != "" {
				t.Errorf("%s: explained of a token and of an imagined caller (-token +imagined):\n%s", name, diff)
			}
			if e.Allow != upstream.reached(id) {
				t.Errorf("%s: explain says allow=%t by %s, the gateway answers %d %s", name, e.Allow, e.Rule, a.status, a.body)
				continue
			}
			if e.Allow {
				allowed++
				if a.status != http.StatusOK && a.status != http.StatusAccepted {
					t.Errorf("%s: allowed, and the answer is %d %s", name, a.status, a.body)
				}
				continue
			}
			refused++
			if a.status != e.Status || a.header.Get("WWW-Authenticate") != e.Challenge {
				t.Errorf("%s: explain says %d by %s with challenge %q, the gateway answers %d with %q",
					name, e.Status, e.Rule, e.Challenge, a.status, a.header.Get("WWW-Authenticate"))
			}
		}
	}
	t.Logf("%d operations allowed, %d refused", allowed, refused)
	if allowed < 50 || refused < 50 {
		t.Errorf("%d operations allowed and %d refused: the grid tests too little", allowed, refused)
	}
}

// explain asks how an operation on the server echo is decided.
func (g *gateway) explain(op operation, args ...string) extauthz.Explanation {
	g.Helper()
	args = append([]string{"explain", "-o", "json", "--server", "echo", "--method", op.method, "--target", op.target}, args...)
	var e extauthz.Explanation
	if err := json.Unmarshal([]byte(g.mustRun("", args...)), &e); err != nil {
		g.Fatal(err)
	}
	return e
}

// Without a valid token the answer is a 401 that leads to the metadata, in the
// three forms of RFC 6750; what else is wrong with the request does not matter.
func testUnauthorized(t *testing.T, g *gateway) {
	prm := fmt.Sprintf(`resource_metadata="%s/.well-known/oauth-protected-resource/json/mcp"`, g.url)
	expired := g.token("eve", "weather:read", demo.Claims{"exp": time.Now().Add(-time.Hour).Unix()})
	audience := g.token("eve", "weather:read", demo.Claims{"aud": "https://other.example"})
	issuer := g.token("eve", "weather:read", demo.Claims{"iss": g.issuer.URL + "/"})
	good := g.token("eve", "weather:read")
	for name, c := range map[string]struct {
		token, code string
	}{
		"none":      {"", ""},
		"garbage":   {"x.y.z", "invalid_token"},
		"expired":   {expired, "invalid_token"},
		"audience":  {audience, "invalid_token"},
		"issuer":    {issuer, "invalid_token"},
		"signature": {good[:len(good)-8] + "AAAAAAAA", "invalid_token"},
	} {
		for _, body := range []string{call("get_forecast"), "not json", `[]`} {
			a := g.post("json", c.token, body)
			challenge := a.header.Get("WWW-Authenticate")
			if a.status != http.StatusUnauthorized || !strings.HasPrefix(challenge, "Bearer ") || !strings.Contains(challenge, prm) ||
				!strings.Contains(challenge, `scope="`) || len(a.header.Values("WWW-Authenticate")) != 1 {
				t.Errorf("%s: %d, challenge %q", name, a.status, challenge)
			}
			if got := strings.Contains(challenge, `error="`+c.code+`"`); got != (c.code != "") {
				t.Errorf("%s: challenge %q, want error %q", name, challenge, c.code)
			}
			if c.token != "" {
				file := filepath.Join(t.TempDir(), "token")
				g.write(file, c.token)
				e := g.explain(operation{method: "ping"}, "--token-file", file)
				echoed := strings.ReplaceAll(e.Challenge, "/echo/", "/json/")
				if e.Allow || e.Status != a.status || echoed != challenge || strings.Contains(e.Reason, c.token) {
					t.Errorf("%s: explain says %+v, the challenge is %q", name, e, challenge)
				}
			}
			if strings.Contains(a.body, "eve") || c.token != "" && strings.Contains(a.body+challenge, c.token) {
				t.Errorf("%s: the answer repeats the token", name)
			}
		}
	}
}

// The metadata of RFC 9728 is open to all, names the resource byte for byte
// and leads to the issuers.
func testMetadata(t *testing.T, g *gateway) {
	a := g.get("/.well-known/oauth-protected-resource/json/mcp")
	doc := a.json(t)
	if a.status != http.StatusOK || a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("metadata: %d %v", a.status, a.header)
	}
	if doc["resource"] != g.url+"/json/mcp" {
		t.Errorf("resource is %v", doc["resource"])
	}
	if diff := cmp.Diff([]any{"https://127.0.0.1:9", g.issuer.URL}, doc["authorization_servers"],
		cmp.Transformer("sort", func(list []any) []string {
			var s []string
			for _, v := range list {
				s = append(s, fmt.Sprint(v))
			}
			slices.Sort(s)
			return s
		})); diff != "" {
		t.Errorf("authorization_servers (-want +got):\n%s", diff)
	}
	if scopes, ok := doc["scopes_supported"].([]any); !ok || !slices.Contains(scopes, any("weather:read")) {
		t.Errorf("scopes_supported is %v", doc["scopes_supported"])
	}
	for _, path := range []string{
		"/.well-known/oauth-protected-resource/nosuch/mcp", "/.well-known/oauth-protected-resource/json",
		"/.well-known/oauth-protected-resource/json/mcp/", "/.well-known/openid-configuration", "/nosuch", "/json", "/json/mcp/",
	} {
		if a := g.get(path); a.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}
