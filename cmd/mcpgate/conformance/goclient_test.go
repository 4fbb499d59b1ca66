package conformance_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// registered is a client that the authorization server knows.
func registered(issuer string) *auth.AuthorizationCodeHandlerConfig {
	return &auth.AuthorizationCodeHandlerConfig{
		PreregisteredClient: &oauthex.ClientCredentials{
			ClientID: clientID, Issuer: issuer,
			ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: clientSecret},
		},
		RedirectURL: redirectURL,
	}
}

// registering is a client that registers itself (RFC 7591), each time anew.
func registering(string) *auth.AuthorizationCodeHandlerConfig {
	return &auth.AuthorizationCodeHandlerConfig{
		DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{
			Metadata: &oauthex.ClientRegistrationMetadata{ClientName: "conformance", RedirectURIs: []string{redirectURL}},
		},
	}
}

// TestGoClientStepsUp is the whole dance of the client of the Go SDK: a 401,
// the metadata, an authorization code with PKCE and resource, a call; then a
// 403, a second authorization for both scopes, and the call that was refused.
func TestGoClientStepsUp(t *testing.T) {
	t.Parallel()
	n := startNotes(t)
	for _, test := range []struct {
		name, server, version string
		client                func(issuer string) *auth.AuthorizationCodeHandlerConfig
		registers             bool
	}{
		{"2026-07-28, registered", stateless, "2026-07-28", registered, false},
		{"2026-07-28, registering itself", stateless, "2026-07-28", registering, true},
		{"2025-11-25, registered", stateless, "2025-11-25", registered, false},
		{"2025-11-25, registering itself", stateless, "2025-11-25", registering, true},
		{"2025-11-25 with a session, registered", stateful, "2025-11-25", registered, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newGoClient(t, n, test.client)
			session := c.connect(test.server, test.version)
			for _, round := range rounds {
				result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: round.tool, Arguments: round.arguments})
				if err != nil {
					t.Fatalf("%s: %v\n%s", round.tool, err, c.wire)
				}
				if text, ok := result.Content[0].(*mcp.TextContent); !ok || text.Text != round.text {
					t.Errorf("%s: %#v, want %q", round.tool, result.Content[0], round.text)
				}
				list, err := session.ListTools(t.Context(), nil)
				if err != nil {
					t.Fatalf("tools/list: %v\n%s", err, c.wire)
				}
				var tools []string
				for _, tool := range list.Tools {
					tools = append(tools, tool.Name)
				}
				if diff := cmp.Diff(round.tools, tools); diff != "" {
					t.Errorf("tools (-want +got):\n%s", diff)
				}
			}
			if diff := cmp.Diff(dance(test.server, test.version == "2025-11-25", test.registers), c.wire.lines()); diff != "" {
				t.Errorf("on the wire (-want +got):\n%s", diff)
			}
			c.checkAuthorizationRequests(n.resource(test.server), "notes:read", "notes:read notes:write")
		})
	}
}

// A session belongs to a client. One that registers itself anew for every
// authorization is another client after a step-up: its session is gone, and a
// new one has what was granted.
func TestClientThatRegistersAnewNeedsANewSession(t *testing.T) {
	t.Parallel()
	n := startNotes(t)
	c := newGoClient(t, n, registering)
	write := &mcp.CallToolParams{Name: "add_note", Arguments: map[string]any{"text": "x"}}
	if _, err := c.connect(stateful, "2025-11-25").CallTool(t.Context(), write); err == nil {
		t.Errorf("a call in the session of another client succeeds\n%s", c.wire)
	}
	lines := c.wire.lines()
	if got, want := lines[len(lines)-1], "gateway: POST /"+stateful+"/mcp 404"; got != want {
		t.Errorf("at last on the wire: %q, want %q", got, want)
	}
	if _, err := c.connect(stateful, "2025-11-25").CallTool(t.Context(), write); err != nil {
		t.Errorf("call in a new session: %v\n%s", err, c.wire)
	}
	c.checkAuthorizationRequests(n.resource(stateful), "notes:read", "notes:read notes:write")
}

// goClient is a client of the Go SDK and the browser of its user.
type goClient struct {
	testing.TB
	notes   *notes
	wire    *wire
	browser *browser
	handler *auth.AuthorizationCodeHandler
}

func newGoClient(t testing.TB, n *notes, config func(issuer string) *auth.AuthorizationCodeHandlerConfig) *goClient {
	t.Helper()
	g := &goClient{TB: t, notes: n, wire: newWire(t, n), browser: newBrowser(t)}
	c := config(n.issuer)
	c.Client = g.wire.client()
	c.AuthorizationCodeFetcher = func(ctx context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
		back, err := g.browser.authorize(ctx, args.URL)
		return &auth.AuthorizationResult{Code: back.Get("code"), State: back.Get("state"), Iss: back.Get("iss")}, err
	}
	var err error
	if g.handler, err = auth.NewAuthorizationCodeHandler(c); err != nil {
		t.Fatal(err)
	}
	return g
}

// connect begins a session, which ends with the test.
func (c *goClient) connect(server, version string) *mcp.ClientSession {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	c.Cleanup(cancel)
	transport := &mcp.StreamableClientTransport{Endpoint: c.notes.resource(server), HTTPClient: c.wire.client(), OAuthHandler: c.handler, MaxRetries: -1}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "conformance", Version: "1"}, nil).
		Connect(ctx, transport, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		c.Fatalf("connect: %v\n%s", err, c.wire)
	}
	c.Cleanup(func() { _ = session.Close() }) // its session may be gone
	return session
}

// checkAuthorizationRequests checks what the user's browser was sent to ask.
func (c *goClient) checkAuthorizationRequests(resource string, scopes ...string) {
	c.Helper()
	var want, got []map[string]string
	for _, scope := range scopes {
		want = append(want, map[string]string{"response_type": "code", "scope": scope, "resource": resource, "code_challenge_method": "S256"})
	}
	for _, r := range c.browser.requests() {
		m := map[string]string{}
		for _, name := range []string{"response_type", "scope", "resource", "code_challenge_method"} {
			m[name] = r.Get(name)
		}
		// The SDK sends a set, in any order.
		scopes := strings.Fields(m["scope"])
		slices.Sort(scopes)
		m["scope"] = strings.Join(scopes, " ")
		got = append(got, m)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		c.Errorf("authorization requests (-want +got):\n%s", diff)
	}
}
