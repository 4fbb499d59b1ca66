package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// inspectorFolder is where `make node` installs, below the repository's root.
const inspectorFolder = ".tools/node/node_modules/.bin"

// How the Inspector ends: on a 401 or a 403, and when a tool fails or is not
// there.
const (
	exitAuth = 3
	exitTool = 5
)

// inspector runs the command line of the MCP Inspector.
type inspector struct {
	testing.TB
	node, script, home string
}

func newInspector(t testing.TB) *inspector {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		folder := filepath.Join(dir, inspectorFolder)
		if _, err := os.Stat(filepath.Join(folder, "mcp-inspector")); err == nil {
			return &inspector{t, filepath.Join(folder, "node"), filepath.Join(folder, "mcp-inspector"), t.TempDir()}
		}
		if dir == filepath.Dir(dir) {
			t.Fatalf("no %s at or above the working directory: run `make node`", inspectorFolder)
		}
		dir = filepath.Dir(dir)
	}
}

// run asks a server for a method and returns the exit code and the output.
func (i *inspector) run(url, token, era string, args ...string) result {
	i.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	args = append([]string{
		i.script, "--cli", url, "--transport", "http", "--protocol-era", era, "--format", "json", "--stored-auth-only",
		"--header", "Authorization: Bearer " + token,
	}, args...)
	cmd := exec.CommandContext(ctx, i.node, args...)
	cmd.Dir = i.home
	cmd.Env = []string{"HOME=" + i.home, "PATH=" + filepath.Dir(i.node), "MCP_CATALOG_PATH=" + filepath.Join(i.home, "mcp.json"), "NO_COLOR=1"}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		i.Fatalf("inspector: %v\n%s", err, stderr.String())
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// versions is an upstream that notes which revision its clients speak.
type versions struct {
	next http.Handler
	mu   sync.Mutex
	seen map[string]bool
}

// ServeHTTP implements http.Handler.
func (v *versions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if version := r.Header.Get("MCP-Protocol-Version"); version != "" {
		v.mu.Lock()
		v.seen[version] = true
		v.mu.Unlock()
	}
	v.next.ServeHTTP(w, r)
}

// The MCP Inspector lists what its token allows, calls it, and ends with its
// exit code for missing permission on what is forbidden.
func TestInspector(t *testing.T) {
	t.Parallel()
	g := start(t, unhurried)
	legacy := &versions{next: mcpHandler(&mcp.StreamableHTTPOptions{}), seen: map[string]bool{}}
	modern := &versions{next: mcpHandler(&mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true}), seen: map[string]bool{}}
	g.apply(serverDoc("legacy", serve(t, legacy)) + serverDoc("modern", serve(t, modern)) + weatherPolicy("legacy", "modern"))
	alice := g.token("alice", "weather:read")
	for era, version := range map[string]string{"legacy": "2025-11-25", "modern": "2026-07-28"} {
		upstream := map[string]*versions{"legacy": legacy, "modern": modern}[era]
		t.Run(era, func(t *testing.T) {
			t.Parallel()
			run := newInspector(t)
			url := g.url + "/" + era + "/mcp"
			r := run.run(url, alice, era, "--method", "tools/list")
			var list struct {
				Result struct {
					Tools []struct {
						Name string `json:"name"`
					} `json:"tools"`
				} `json:"result"`
			}
			if err := json.Unmarshal([]byte(r.stdout), &list); r.code != 0 || err != nil {
				t.Fatalf("tools/list: exit %d, %v\n%s%s", r.code, err, r.stdout, r.stderr)
			}
			var names []string
			for _, tool := range list.Result.Tools {
				names = append(names, tool.Name)
			}
			if diff := cmp.Diff([]string{"get_forecast", "list_alerts"}, names); diff != "" {
				t.Errorf("tools (-want +got):\n%s", diff)
			}
			tool := func(name string) result {
				return run.run(url, alice, era, "--method", "tools/call", "--tool-name", name, "--tool-arg", "place=Oslo")
			}
			if r := tool("get_forecast"); r.code != 0 || !strings.Contains(r.stdout, "get_forecast of Oslo") {
				t.Errorf("allowed tool: exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			// The Inspector looks a tool up before it calls it, and a hidden one is
			// not there; a resource it reads as it is told.
			if r := tool("set_alert"); r.code != exitTool || !strings.Contains(r.stderr, "tool_not_found") {
				t.Errorf("forbidden tool: exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			if r := run.run(url, alice, era, "--method", "resources/read", "--uri", "weather://today"); r.code != 0 {
				t.Errorf("allowed resource: exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			if r := run.run(url, alice, era, "--method", "resources/read", "--uri", "vault://today"); r.code != exitAuth {
				t.Errorf("forbidden resource: exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			if r := run.run(url, "wrong", era, "--method", "tools/list"); r.code != exitAuth {
				t.Errorf("wrong token: exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			// The challenge says what would help, and the Inspector repeats it.
			if r := run.run(url, g.token("nora", ""), era, "--method", "tools/list"); r.code == 0 || !strings.Contains(r.stderr, `Insufficient scope: required \"weather:connect\"`) {
				t.Errorf("token without scopes: exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			upstream.mu.Lock()
			defer upstream.mu.Unlock()
			if !upstream.seen[version] || len(upstream.seen) != 1 {
				t.Errorf("the upstream was spoken to in %v, want %s", upstream.seen, version)
			}
		})
	}
}
