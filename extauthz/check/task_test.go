package check

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/session"
)

// taskFunc is a Tasks.
type taskFunc func(session.Owner, int64, string) bool

func (f taskFunc) Owns(o session.Owner, g int64, id string) bool { return f(o, g, id) }

const (
	modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}`
	taskGet    = `{"jsonrpc":"2.0","id":7,"method":"tasks/get","params":{"taskId":%q}}`
)

func modernHeaders(method, name string) []string {
	h := []string{"mcp-protocol-version: 2026-07-28", "mcp-method: " + method}
	if name != "" {
		h = append(h, "mcp-name: "+name)
	}
	return h
}

// TestTaskOfTheCallerAlone: whose the task is, is asked with the whole
// principal, the server and the generation of the route.
func TestTaskOfTheCallerAlone(t *testing.T) {
	t.Parallel()
	f := newFixture()
	alice := session.Owner{Issuer: "corp", Subject: "alice", Client: "cli", Server: "weather"}
	f.config.Tasks = taskFunc(func(o session.Owner, g int64, id string) bool {
		return o == alice && g == generation && id == "t1"
	})
	listen := `{"jsonrpc":"2.0","id":7,"method":"subscriptions/listen","params":{"notifications":{"taskIds":["t1"%s]},` + modernMeta + `}}`
	allowed(t, f.check(t, request("POST", "weather", fmt.Sprintf(taskGet, "t1"))))
	allowed(t, f.check(t, request("POST", "weather", fmt.Sprintf(listen, ""), modernHeaders("subscriptions/listen", "")...)))
	want := `{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"task not found"}}`
	for name, tt := range map[string]struct {
		server, body string
		headers      []string
		status       int
		rule         extauthz.Rule
	}{
		"another task":        {"weather", fmt.Sprintf(taskGet, "t2"), nil, 200, extauthz.RuleTaskNotBoundLegacy},
		"another caller":      {"weather", fmt.Sprintf(taskGet, "t1"), as("noclient"), 200, extauthz.RuleTaskNotBoundLegacy},
		"another server":      {"forward", fmt.Sprintf(taskGet, "t1"), nil, 200, extauthz.RuleTaskNotBoundLegacy},
		"of the modern era":   {"weather", strings.Replace(fmt.Sprintf(taskGet, "t2"), `}}`, `,`+modernMeta+`}}`, 1), modernHeaders("tasks/get", "t2"), 400, extauthz.RuleTaskNotBound},
		"one of several":      {"weather", fmt.Sprintf(listen, `,"t2"`), modernHeaders("subscriptions/listen", ""), 400, extauthz.RuleTaskNotBound},
		"in several of mine":  {"weather", fmt.Sprintf(listen, `,""`), modernHeaders("subscriptions/listen", ""), 400, extauthz.RuleTaskNotBound},
		"by a notification":   {"weather", `{"jsonrpc":"2.0","method":"notifications/x","params":{"taskId":"t2"}}`, nil, 400, extauthz.RuleTaskNotBound},
		"to update it":        {"weather", `{"jsonrpc":"2.0","id":7,"method":"tasks/update","params":{"taskId":"t2","inputResponses":{},` + modernMeta + `}}`, modernHeaders("tasks/update", "t2"), 400, extauthz.RuleTaskNotBound},
		"of another by name":  {"weather", fmt.Sprintf(taskGet, "T1"), nil, 200, extauthz.RuleTaskNotBoundLegacy},
		"of another by space": {"weather", fmt.Sprintf(taskGet, "t1 "), nil, 200, extauthz.RuleTaskNotBoundLegacy},
	} {
		status, _, body := denied(t, f.check(t, request("POST", tt.server, tt.body, tt.headers...)))
		if strings.Contains(tt.body, "notifications/x") {
			body = strings.Replace(body, `"id":null`, `"id":7`, 1)
		}
		if status != tt.status || body != want || f.last(t).Rule != tt.rule {
			t.Errorf("%s: %d %s, rule %s", name, status, body, f.last(t).Rule)
		}
	}
}

// TestNoTaskTableKnowsNoTask also holds that the answer tells a task that there
// is not from one of somebody else in nothing.
func TestNoTaskTableKnowsNoTask(t *testing.T) {
	t.Parallel()
	ask := func(tasks Tasks) string {
		f := newFixture()
		f.config.Tasks = tasks
		wire, err := f.exchange(t.Context(), marshal(t, request("POST", "weather", fmt.Sprintf(taskGet, "t1"))))
		if err != nil {
			t.Fatal(err)
		}
		denied(t, unmarshalResponse(t, wire))
		return string(wire)
	}
	none := ask(nil)
	if got := ask(taskFunc(func(session.Owner, int64, string) bool { return false })); got != none {
		t.Errorf("%q, want %q", got, none)
	}
}

// TestCallThatMayStartATaskIsInspected: and no other.
func TestCallThatMayStartATaskIsInspected(t *testing.T) {
	t.Parallel()
	with := func(more string) string {
		return strings.Replace(callBody, `"arguments":{}`, `"arguments":{},`+more, 1)
	}
	for name, tt := range map[string]struct {
		body, version string
		inspect       string
	}{
		"asked for":           {with(`"task":{"ttl":1}`), "2025-11-25", "task"},
		"in an older version": {with(`"task":{"ttl":1}`), "2025-06-18", "none"},
		"not asked for":       {callBody, "2025-11-25", "none"},
		"capable":             {with(modernMeta), "2026-07-28", "task"},
		"not capable":         {with(`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}`), "2026-07-28", "none"},
	} {
		headers := []string{"mcp-protocol-version: " + tt.version}
		if tt.version == "2026-07-28" {
			headers = modernHeaders("tools/call", "get_forecast")
		}
		_, removed, metadata := allowed(t, newFixture().check(t, request("POST", "weather", tt.body, append(headers, "accept-encoding: gzip")...)))
		want := map[string]string{"route": "plain:weather@3", "server": "weather", "inspect": "none", "method": "tools/call", "id": "7"}
		if tt.inspect == "task" {
			want = map[string]string{
				"route": "inspect:weather@3", "server": "weather", "inspect": "task", "method": "tools/call", "id": "7",
				"issuer": "corp", "subject": "alice", "client": "cli", "scopes": "weather:read",
			}
			wantRemoved(t, removed, []string{"accept-encoding"}, nil)
		}
		wantMap(t, name, metadata, want)
	}
}
