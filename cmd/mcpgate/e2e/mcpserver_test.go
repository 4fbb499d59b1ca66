package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// newMCPServer has what weatherPolicy judges: three tools, two prompts, two
// resources and two templates, of each of which a reader may use a part.
func newMCPServer() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "weather", Version: "1.0.0"}, nil)
	type place struct {
		Place string `json:"place"`
	}
	for _, name := range []string{"get_forecast", "list_alerts", "set_alert"} {
		mcp.AddTool(s, &mcp.Tool{Name: name, Description: "does " + name},
			func(_ context.Context, _ *mcp.CallToolRequest, in place) (*mcp.CallToolResult, any, error) {
				return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: name + " of " + in.Place}}}, nil, nil
			})
	}
	for _, name := range []string{"brief", "secret"} {
		s.AddPrompt(&mcp.Prompt{Name: name}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: name}}}}, nil
		})
	}
	read := func(_ context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: r.Params.URI, Text: "read"}}}, nil
	}
	for _, scheme := range []string{"weather", "vault"} {
		s.AddResource(&mcp.Resource{Name: scheme, URI: scheme + "://today"}, read)
		s.AddResourceTemplate(&mcp.ResourceTemplate{Name: scheme, URITemplate: scheme + "://places/{place}"}, read)
	}
	return s
}

// variants are the forms in which a server can answer: with a session or
// without, with JSON or with a stream.
func variants() map[string]*mcp.StreamableHTTPOptions {
	return map[string]*mcp.StreamableHTTPOptions{
		"json":           {Stateless: true, JSONResponse: true},
		"stream":         {Stateless: true},
		"session-json":   {JSONResponse: true},
		"session-stream": {},
	}
}

func mcpHandler(opt *mcp.StreamableHTTPOptions) http.Handler {
	s := newMCPServer()
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, opt)
}

// weatherPolicy gives scopes on the servers named.
func weatherPolicy(servers ...string) string {
	return strings.ReplaceAll(`---
kind: Scope
name: weather:connect
rules: [{servers: SERVERS}]
---
kind: Scope
name: weather:read
rules: [{servers: SERVERS, tools: [get_forecast, "list_*"], prompts: [brief], resources: ["weather://*"]}]
---
kind: Scope
name: weather:write
includes: [weather:read]
rules: [{servers: SERVERS, tools: [set_alert]}]
---
kind: Scope
name: weather:tools
rules: [{servers: SERVERS, tools: ["*"]}]
---
kind: Scope
name: weather:skills
rules: [{servers: SERVERS, methods: [skills/list]}]
---
kind: Group
name: /lob1/users
scopes: [weather:read]
---
kind: Group
name: admins
issuer: corp
scopes: [weather:write]
---
kind: Issuer
name: elsewhere
issuer: https://127.0.0.1:9
---
kind: Group
name: strangers
issuer: elsewhere
scopes: [weather:write]
`, "SERVERS", "["+strings.Join(servers, ", ")+"]")
}

// listed are the names (of resources: the URIs) in the reply to a list, which
// is JSON or a stream.
func listed(t testing.TB, a answer, method string) []string {
	t.Helper()
	text := a.body
	if strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream") {
		text = ""
		for line := range strings.Lines(a.body) {
			if data, ok := strings.CutPrefix(line, "data:"); ok && strings.Contains(data, `"result"`) {
				text = data
			}
		}
	}
	var reply struct {
		Result map[string]json.RawMessage `json:"result"`
	}
	if err := json.Unmarshal([]byte(text), &reply); err != nil {
		t.Fatalf("%s: %d %v\n%s", method, a.status, err, a.body)
	}
	field, key := map[string][2]string{
		"tools/list":               {"tools", "name"},
		"prompts/list":             {"prompts", "name"},
		"resources/list":           {"resources", "uri"},
		"resources/templates/list": {"resourceTemplates", "uriTemplate"},
	}[method], ""
	key = field[1]
	var items []map[string]any
	if err := json.Unmarshal(reply.Result[field[0]], &items); err != nil {
		t.Fatalf("%s: %v\n%s", method, err, a.body)
	}
	names := make([]string, 0, len(items))
	for _, item := range items {
		names = append(names, fmt.Sprint(item[key]))
	}
	slices.Sort(names)
	return names
}
