package conformance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/demo"
	"github.com/mcpgate/mcpgate/envoy/envoytest"
)

// A client that is registered with the authorization server, for the grant
// client_credentials and for authorization codes.
const (
	clientID     = "service"
	clientSecret = "secret-of-the-service"
	// redirectURL is where nobody listens: the tests read the redirection.
	redirectURL = "http://127.0.0.1/callback"
)

// notes is a gateway with the sample server notes behind it, twice, and an
// authorization server that is its issuer.
type notes struct {
	*gateway
	// issuer is the origin of the authorization server.
	issuer string
}

// The names of the server: without sessions and with them.
const (
	stateless = "notes"
	stateful  = "session-notes"
)

// startNotes starts all three. Both servers have a tool for notes:read, which
// a first challenge asks for, and one for notes:write.
func startNotes(t testing.TB) *notes {
	t.Helper()
	n := &notes{gateway: startGateway(t), issuer: fmt.Sprintf("http://127.0.0.1:%d", envoytest.FreePort(t))}
	n.startAuthorizationServer()
	documents := []string{fmt.Sprintf("kind: Issuer\nname: corp\nissuer: %s\n", n.issuer)}
	for name, handler := range map[string]http.Handler{stateless: sample(t, "notes").Handler(), stateful: sample(t, "notes").StatefulHandler()} {
		srv := httptest.NewServer(handler)
		t.Cleanup(srv.Close)
		documents = append(documents, fmt.Sprintf("kind: Server\nname: %s\nupstream: {url: %s}\naccess: {baselineScopes: [notes:read]}\n", name, srv.URL+"/mcp"))
	}
	for scope, tool := range map[string]string{"notes:read": "list_notes", "notes:write": "add_note"} {
		documents = append(documents, fmt.Sprintf("kind: Scope\nname: %s\nrules:\n  - {servers: [%s, %s], tools: [%s]}\n", scope, stateless, stateful, tool))
	}
	n.apply(strings.Join(documents, "---\n"))
	return n
}

// resource is the URL of a server, which is its resource identifier.
func (n *notes) resource(server string) string { return n.url + "/" + server + "/mcp" }

func (n *notes) startAuthorizationServer() {
	n.Helper()
	config, err := json.Marshal(map[string]any{
		"issuer":    n.issuer,
		"resources": map[string]string{n.resource(stateless): "notes:read notes:write", n.resource(stateful): "notes:read notes:write"},
		"clients": []any{map[string]any{
			"client_id": clientID, "client_secret": clientSecret, "application_type": "native",
			"grant_types": []string{"client_credentials", "authorization_code"}, "redirect_uris": []string{redirectURL},
			"token_endpoint_auth_method": "client_secret_basic",
		}},
	})
	if err != nil {
		n.Fatal(err)
	}
	script := nodeScript(n, "authorization-server.mjs")
	startProgram(n, func(ctx context.Context) *exec.Cmd {
		return program(ctx, n, node(n), script, string(config))
	}, func() bool { return answers(n, n.issuer+"/jwks", http.StatusOK) })
}

func sample(t testing.TB, name string) demo.Server {
	t.Helper()
	for _, s := range demo.Servers() {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no sample server %q", name)
	return demo.Server{}
}

// nodeScript copies a script of testdata to where it finds the packages.
func nodeScript(t testing.TB, name string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(toolsDir(t), "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// browser is that of a user: it follows an authorization request to where the
// client expects the code.
type browser struct {
	client *http.Client
	mu     sync.Mutex
	// asked are the authorization requests, in order.
	asked []url.Values
}

func newBrowser(t testing.TB) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{client: &http.Client{
		Transport: transport, Jar: jar, Timeout: patience,
		CheckRedirect: func(req *http.Request, _ []*http.Request) error {
			if strings.HasPrefix(req.URL.String(), redirectURL) {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}}
}

// authorize returns the authorization response.
func (b *browser) authorize(ctx context.Context, request string) (url.Values, error) {
	u, err := url.Parse(request)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.asked = append(b.asked, u.Query())
	b.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, request, nil)
	if err != nil {
		return nil, err
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is read from it
	back, err := resp.Location()
	if err != nil {
		return nil, fmt.Errorf("no redirection but %s: %w", resp.Status, err)
	}
	return back.Query(), nil
}

// requests are the authorization requests so far.
func (b *browser) requests() []url.Values {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.asked)
}

// clientToken gets an access token with the grant client_credentials (RFC 6749
// section 4.4) for a server.
func (n *notes) clientToken(t testing.TB, server, scope string) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {scope}, "resource": {n.resource(server)}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(clientID, clientSecret)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	var answer struct {
		AccessToken string `json:"access_token"`
		Scope       string `json:"scope"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatalf("token endpoint: %s: %v", resp.Status, err)
	}
	if resp.StatusCode != http.StatusOK || answer.Scope != scope {
		t.Fatalf("token endpoint: %s, scope %q", resp.Status, answer.Scope)
	}
	return answer.AccessToken
}
