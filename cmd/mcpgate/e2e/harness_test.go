package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/command"
	"github.com/mcpgate/mcpgate/cmd/mcpgate/demo"
	"github.com/mcpgate/mcpgate/envoy/envoytest"
)

// programEnv makes the test binary be the program: tests that kill it run it
// as a process of its own.
const programEnv = "MCPGATE_E2E_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		os.Exit(command.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// gateway is a running `mcpgate up` with an issuer beside it.
type gateway struct {
	testing.TB
	// url is the public origin, address its host:port.
	url, address string
	// dir is the data directory, config the configuration file.
	dir, config string
	issuer      *demo.Issuer
	client      *http.Client
	logs        *buffer
	stop        func()
}

// start runs `mcpgate up` with a configuration of its own, extended by the
// given YAML, and an Issuer named corp whose tokens have the gateway's origin
// as their audience. It returns when the gateway serves.
func start(t testing.TB, extra string) *gateway {
	t.Helper()
	g := prepare(t)
	g.configure(extra)
	g.startProgram()
	g.applyIssuer()
	return g
}

// prepare makes the directory, the port and the issuer of a gateway that does
// not run yet. Whatever runs when the test ends is stopped.
func prepare(t testing.TB) *gateway {
	t.Helper()
	port := envoytest.FreePort(t)
	// The path of a Unix socket is short, and t.TempDir's are long.
	dir, err := os.MkdirTemp("", "mg") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{
		TB: t, dir: dir, config: filepath.Join(dir, "mcpgate.yaml"), logs: &buffer{}, stop: func() {},
		address: fmt.Sprintf("127.0.0.1:%d", port), url: fmt.Sprintf("http://127.0.0.1:%d", port),
		client: &http.Client{
			Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Timeout:       30 * time.Second,
		},
	}
	g.startIssuer()
	t.Cleanup(func() {
		g.stop()
		g.client.CloseIdleConnections()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of the gateway:\n%s", g.logs)
		}
	})
	return g
}

// configure writes the configuration file; the given YAML may begin with
// further fields of `gateway`, indented.
func (g *gateway) configure(extra string) {
	g.Helper()
	if !strings.Contains(extra, "extAuthz:") {
		// A decision that is late is a 503; on a busy machine many are.
		extra += "extAuthz: {timeout: 3s}\n"
	}
	g.write(g.config, fmt.Sprintf("dataDir: %s/data\nexternalURL: %s\ngateway:\n  listen: %s\n%s", g.dir, g.url, g.address, extra))
}

func (g *gateway) applyIssuer() {
	g.Helper()
	g.apply(fmt.Sprintf("kind: Issuer\nname: corp\nissuer: %s\naudiences: [%s]\n", g.issuer.URL, g.url))
}

func (g *gateway) startIssuer() {
	g.Helper()
	handler := &late{}
	srv := httptest.NewServer(handler)
	g.Cleanup(srv.Close)
	issuer, err := demo.NewIssuer(srv.URL)
	if err != nil {
		g.Fatal(err)
	}
	h, err := issuer.Handler()
	if err != nil {
		g.Fatal(err)
	}
	handler.Handler = h
	g.issuer = issuer
}

// late is a handler that is known only after its server's address.
type late struct{ http.Handler }

// startProgram runs `mcpgate up` and returns when it serves; stop ends it and
// checks that it ended well.
func (g *gateway) startProgram() {
	g.Helper()
	done := g.launch("up")
	g.eventually("the gateway serves", func() bool {
		select {
		case code := <-done:
			done <- code
			g.Fatalf("mcpgate up ended with %d\n%s", code, g.logs)
		default:
		}
		return g.healthy()
	})
}

// launch runs the program with a verb; its exit code comes from the channel,
// which stop empties.
func (g *gateway) launch(verb string) chan int {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() {
		done <- command.Main(ctx, []string{verb, "--config", g.config}, strings.NewReader(""), g.logs, g.logs)
	}()
	var once sync.Once
	g.stop = func() {
		once.Do(func() {
			cancel()
			select {
			case code := <-done:
				if code != 0 {
					g.Errorf("mcpgate %s ended with %d\n%s", verb, code, g.logs)
				}
			case <-time.After(30 * time.Second):
				g.Errorf("mcpgate %s did not stop\n%s", verb, g.logs)
			}
		})
	}
	return done
}

// healthy reports whether the gateway serves.
func (g *gateway) healthy() bool {
	resp, err := g.client.Get(g.url + "/healthz")
	if err != nil {
		return false
	}
	drain(resp)
	return resp.StatusCode == http.StatusOK
}

// in is the gateway for a subtest, or for a client of its own.
func (g *gateway) in(t testing.TB) *gateway {
	c := *g
	c.TB = t
	return &c
}

// eventually polls until the condition holds, for at most 20 seconds.
func (g *gateway) eventually(what string, cond func() bool) {
	g.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			g.Fatalf("%s: not within 20 s\n%s", what, g.logs)
		}
	}
}

// result is the outcome of a command.
type result struct {
	code           int
	stdout, stderr string
}

// run runs a command of mcpgate against the gateway.
func (g *gateway) run(stdin string, args ...string) result {
	g.Helper()
	var stdout, stderr bytes.Buffer
	code := command.Main(context.Background(), append(args, "--config", g.config), strings.NewReader(stdin), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// mustRun runs a command that has to succeed, and returns its output.
func (g *gateway) mustRun(stdin string, args ...string) string {
	g.Helper()
	r := g.run(stdin, args...)
	if r.code != 0 {
		g.Fatalf("mcpgate %s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// apply applies documents and waits for Envoy.
func (g *gateway) apply(documents string) {
	g.Helper()
	g.mustRun(documents, "apply", "-f", "-")
}

// token is an access token of corp for the subject with the scopes.
func (g *gateway) token(subject, scopes string, claims ...demo.Claims) string {
	g.Helper()
	all := demo.Claims{"scope": scopes}
	for _, c := range claims {
		maps.Copy(all, c)
	}
	token, err := g.issuer.Token(subject, g.url, all)
	if err != nil {
		g.Fatal(err)
	}
	return token
}

// answer is a response read whole.
type answer struct {
	status int
	header http.Header
	body   string
}

// json decodes the body.
func (a answer) json(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("answer %d is not JSON: %v\n%s", a.status, err, a.body)
	}
	return v
}

// post sends one message to a server, as a legacy client without a session
// does; header lists further headers, "Name: value".
func (g *gateway) post(server, token, body string, header ...string) answer {
	g.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, g.url+"/"+server+"/mcp", strings.NewReader(body))
	if err != nil {
		g.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	return g.do(req)
}

// get fetches a path of the gateway without a token.
func (g *gateway) get(path string) answer {
	g.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, g.url+path, nil)
	if err != nil {
		g.Fatal(err)
	}
	return g.do(req)
}

func (g *gateway) do(req *http.Request) answer {
	g.Helper()
	resp, err := g.client.Do(req)
	if err != nil {
		g.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		g.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		g.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// call is the body of a tools/call.
func call(tool string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + tool + `","arguments":{"place":"Oslo"}}}`
}

// serve runs an upstream on loopback and returns its origin.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// sample runs a sample server of package demo and returns its origin.
func sample(t testing.TB, name string, stateful bool) string {
	t.Helper()
	for _, s := range demo.Servers() {
		if s.Name != name {
			continue
		}
		if stateful {
			return serve(t, s.StatefulHandler())
		}
		return serve(t, s.Handler())
	}
	t.Fatalf("no sample server %q", name)
	return ""
}

func (g *gateway) write(path, content string) {
	g.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		g.Fatal(err)
	}
}

// raw sends bytes on a connection of its own and returns what comes back until
// the peer closes, or is silent for the time given.
func raw(t testing.TB, address string, tlsConfig *tls.Config, request string, silence time.Duration) string {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(context.Background(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if tlsConfig != nil {
		conn = tls.Client(conn, tlsConfig)
	}
	defer conn.Close() //nolint:errcheck // the test is over
	if _, err := io.WriteString(conn, request); err != nil {
		return ""
	}
	var out bytes.Buffer
	chunk := make([]byte, 32<<10)
	for {
		if err := conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(chunk)
		out.Write(chunk[:n])
		if err != nil {
			return out.String()
		}
	}
}

func drain(resp *http.Response) {
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
}

// buffer collects the output of several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String implements fmt.Stringer.
func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
