package conformance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/demo"
	"github.com/mcpgate/mcpgate/envoy/envoytest"
)

// suiteTimeout bounds one run of the suite, which takes seconds.
const suiteTimeout = 2 * time.Minute

// TestSuite runs the MCP conformance suite, everything that a revision of the
// specification requires, against the conformance server of the Go SDK and
// against the same server behind the gateway. Every check has to end the same.
func TestSuite(t *testing.T) {
	t.Parallel()
	binary := buildUpstream(t)
	issuer := startIssuer(t)
	g := startGateway(t)
	g.apply(fmt.Sprintf("kind: Issuer\nname: corp\nissuer: %s\n", issuer.URL))

	for _, revision := range []struct {
		name, state string
		// checks is how many the suite makes at least: it did run.
		checks int
	}{
		{"2025-11-25", "-stateless=false", 80},
		{"2026-07-28", "-stateless=true", 190},
	} {
		t.Run(revision.name, func(t *testing.T) {
			t.Parallel()
			upstream := startUpstream(t, binary, revision.state)
			server := "everything-" + revision.name
			g.apply(fmt.Sprintf(callers, server, upstream, byInitial()))

			bare := runSuite(t, revision.name, upstream)
			if n := bare.checks(); n < revision.checks {
				t.Fatalf("the suite made %d checks of the bare server, want at least %d", n, revision.checks)
			}
			for _, scope := range []string{"whole", "patterns"} {
				t.Run(scope, func(t *testing.T) {
					resource := g.url + "/" + server + "/mcp"
					token, err := issuer.Token("suite", resource, demo.Claims{"scope": scope + "-" + server})
					if err != nil {
						t.Fatal(err)
					}
					front := authorize(t, resource, token)
					through := runSuite(t, revision.name, front)
					for _, check := range ownAnswers {
						if bare[check] != nil {
							through[check] = bare[check]
						}
					}
					if diff := cmp.Diff(bare, through); diff != "" {
						t.Errorf("outcome of checks (-bare +through the gateway):\n%s", diff)
					}
					t.Logf("%d checks", through.checks())
				})
			}
		})
	}
}

// ownAnswers are the checks whose outcome is the gateway's own: a task that the
// caller did not start does not exist, and this upstream has no tasks at all.
var ownAnswers = [...]string{
	"tasks-capability-negotiation sep-2663-tasks-methods-non-declaring",
	"tasks-dispatch-and-envelope sep-2663-tasks-get-invalid-task-id-32602",
}

// callers are two who may do everything: one by a rule that needs no look at
// lists, the other by patterns, each entry of a list against each.
const callers = `
kind: Server
name: %[1]s
upstream: {url: %[2]s}
---
kind: Scope
name: whole-%[1]s
rules:
  - {servers: [%[1]s], tools: ["*"], prompts: ["*"], resources: ["*"]}
---
kind: Scope
name: patterns-%[1]s
rules:
  - {servers: [%[1]s], tools: %[3]s, prompts: %[3]s, resources: %[3]s}
`

// byInitial are patterns that together cover every name in use.
func byInitial() string {
	var patterns []string
	for c := 'a'; c <= 'z'; c++ {
		patterns = append(patterns, fmt.Sprintf("%q", string(c)+"*"))
	}
	return "[" + strings.Join(patterns, ", ") + `, "_*"]`
}

// buildUpstream builds the conformance server of the SDK that go.mod names.
func buildUpstream(t testing.TB) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "everything-server")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/modelcontextprotocol/go-sdk/conformance/everything-server")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the conformance server: %v\n%s", err, out)
	}
	return binary
}

// startUpstream runs the conformance server and returns its endpoint.
func startUpstream(t testing.TB, binary, state string) string {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t))
	startProgram(t, func(ctx context.Context) *exec.Cmd {
		return program(ctx, t, binary, "-http", address, state)
	}, func() bool { return answers(t, "http://"+address, 0) })
	return "http://" + address + "/mcp"
}

// startIssuer serves an issuer whose tokens the tests sign themselves.
func startIssuer(t testing.TB) *demo.Issuer {
	t.Helper()
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	issuer, err := demo.NewIssuer(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	documents, err := issuer.Handler()
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/", documents)
	return issuer
}

// authorize serves an MCP endpoint to a client that can send no token, and
// returns its URL. Nothing else of a request changes: a foreign Host and a
// foreign Origin are for the gateway to refuse.
func authorize(t testing.TB, endpoint, token string) string {
	t.Helper()
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			r.Out.Host = r.In.Host
			r.Out.Header.Set("Authorization", "Bearer "+token)
		},
		FlushInterval: -1,
	})
	t.Cleanup(srv.Close)
	return srv.URL + target.Path
}

// outcomes are the statuses of checks, with what the suite says about them, by
// scenario and check, in the order in which it made them.
type outcomes map[string][]string

// checks is how many there are.
func (o outcomes) checks() int {
	n := 0
	for _, list := range o {
		n += len(list)
	}
	return n
}

// runSuite runs the scenarios that a revision requires against an endpoint.
// Those that count must pass; the others may fail, but not differently.
func runSuite(t testing.TB, revision, endpoint string) outcomes {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), suiteTimeout)
	defer cancel()
	dir := t.TempDir()
	cmd := program(ctx, t, node(t), nodePackage(t, "@modelcontextprotocol/conformance/dist/index.js"),
		"server", "--url", endpoint, "--requirements", revision, "--output-dir", dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the conformance suite against %s: %v\n%s", endpoint, err, out)
	}
	return readOutcomes(t, dir)
}

// scenario is the name of a directory of results: the scenario, and when.
var scenario = regexp.MustCompile(`^server-(.+)-\d{4}-\d\d-\d\dT[-\d]+Z$`)

func readOutcomes(t testing.TB, dir string) outcomes {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "checks.json"))
	if err != nil {
		t.Fatal(err)
	}
	all := outcomes{}
	for _, file := range files {
		m := scenario.FindStringSubmatch(filepath.Base(filepath.Dir(file)))
		if m == nil {
			t.Fatalf("%s is not named as results are", file)
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var checks []struct{ ID, Status, ErrorMessage string }
		if err := json.Unmarshal(content, &checks); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, c := range checks {
			key := m[1] + " " + c.ID
			all[key] = append(all[key], strings.TrimSpace(c.Status+" "+c.ErrorMessage))
		}
	}
	return all
}
