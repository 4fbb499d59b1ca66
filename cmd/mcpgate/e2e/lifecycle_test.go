package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/envoy/envoytest"
)

// An Envoy started by hand with the printed bootstrap does what the one of
// `up` does; while the program is away nothing is allowed, and when it is back
// all goes on, sessions included.
func TestServeAndBootstrap(t *testing.T) {
	t.Parallel()
	g := prepare(t)
	g.configure("")
	g.launch("serve")
	g.eventually("the program answers", func() bool { return g.run("", "status").code == 0 })
	r := g.run("kind: Server\nname: early\nupstream: {url: "+sample(t, "weather", false)+"/mcp}\n", "apply", "-f", "-")
	if r.code != 0 || !strings.Contains(r.stdout, "server/early created") || !strings.Contains(r.stderr, "no Envoy is connected") {
		t.Errorf("apply without an Envoy: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	bootstrap := g.mustRun("", "bootstrap", "--node-id", "by-hand", "--envoy-admin", "unix:"+filepath.Join(g.dir, "hand.sock"))
	envoytest.Validate(t, []byte(bootstrap))
	envoytest.Start(t, []byte(bootstrap), envoytest.WithDir(g.dir))
	g.eventually("the gateway serves", g.healthy)
	g.applyIssuer()
	g.apply(serverDoc("weather", sample(t, "weather", true)) + weatherPolicy("weather", "early"))

	token := g.token("alice", "weather:read")
	g.want("early", token, http.StatusOK)
	session := g.initialize("weather", token)
	list := `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`
	a := g.post("weather", token, list, session)
	if diff := cmp.Diff([]string{"get_forecast", "list_alerts"}, listed(t, a, "tools/list")); diff != "" {
		t.Errorf("tools (-want +got):\n%s", diff)
	}
	if a := g.post("early", token, call("set_alert")); a.status != http.StatusForbidden || !strings.Contains(a.header.Get("WWW-Authenticate"), `scope="weather:write"`) {
		t.Errorf("forbidden tool: %d %v", a.status, a.header)
	}
	g.mustRun("", "server", "add", "late", sample(t, "clock", false)+"/mcp")
	if a := g.post("late", token, call("get_time")); a.status != http.StatusForbidden {
		t.Errorf("added server: %d", a.status)
	}
	if status := g.mustRun("", "status"); !strings.Contains(status, "by-hand") || !strings.Contains(status, "1.40.0") {
		t.Errorf("status does not show the Envoy:\n%s", status)
	}

	g.stop()
	a = g.post("early", token, call("get_forecast"))
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || !strings.Contains(a.body, `"jsonrpc"`) {
		t.Errorf("without the program: %d %v %s", a.status, a.header, a.body)
	}
	g.launch("serve")
	g.eventually("the session goes on", func() bool {
		return g.post("weather", token, list, session).status == http.StatusOK
	})
	g.mustRun("", "delete", "server", "late")
	g.want("late", token, http.StatusNotFound)
}

// A new start of the program has the registry, and the sessions of before.
func TestRestartKeepsRegistryAndSessions(t *testing.T) {
	t.Parallel()
	g := start(t, "")
	g.apply(everything + serverDoc("weather", sample(t, "weather", true)))
	token := g.token("alice", "all")
	session := g.initialize("weather", token)
	before := g.mustRun("", "export")
	g.stop()
	if r := g.run("", "status"); r.code != 1 || !strings.Contains(r.stderr, "no gateway answers") || !strings.Contains(r.stderr, "hint: ") {
		t.Errorf("status of a stopped gateway: exit %d\n%s", r.code, r.stderr)
	}
	g.startProgram()
	if diff := cmp.Diff(before, g.mustRun("", "export")); diff != "" {
		t.Errorf("registry after the restart (-before +after):\n%s", diff)
	}
	if a := g.post("weather", token, call("get_forecast"), session); a.status != http.StatusOK {
		t.Errorf("session of before the restart: %d %s", a.status, a.body)
	}
}

// SIGTERM ends the program in order: exit 0, no Envoy, a free port, and
// nothing in the way of the next start.
func TestTerminate(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": syscall.SIGINT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := prepare(t)
			g.configure("")
			for range 2 {
				p := g.spawn("up")
				g.eventually("the gateway serves", g.healthy)
				pid := g.envoyPID()
				p.signal(sig)
				if code := p.end(); code != 0 {
					t.Errorf("exit %d\n%s", code, g.logs)
				}
				if running(pid) {
					t.Errorf("Envoy %d runs on", pid)
				}
				if !g.portFree() {
					t.Error("the port is not free")
				}
			}
		})
	}
}

// Killed, the program leaves no Envoy that serves on without it, and the next
// start works with what had been acknowledged.
func TestKill(t *testing.T) {
	t.Parallel()
	g := prepare(t)
	g.configure("")
	p := g.spawn("up")
	g.eventually("the gateway serves", g.healthy)
	g.applyIssuer()
	g.apply(everything + serverDoc("weather", sample(t, "weather", false)))
	token := g.token("alice", "all")
	g.want("weather", token, http.StatusOK)
	pid := g.envoyPID()
	p.signal(syscall.SIGKILL)
	if code := p.end(); code != -1 {
		t.Errorf("exit %d of a killed program", code)
	}
	g.eventually("its Envoy is stopped", func() bool { return !running(pid) })
	g.startProgram()
	g.want("weather", token, http.StatusOK)
}

// An Envoy that dies is started again.
func TestEnvoyDies(t *testing.T) {
	t.Parallel()
	g := start(t, "")
	g.apply(everything + serverDoc("weather", sample(t, "weather", false)))
	token := g.token("alice", "all")
	pid := g.envoyPID()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	g.eventually("another Envoy serves", func() bool { return g.envoyPID() != pid && g.healthy() })
	g.want("weather", token, http.StatusOK)
}

// A second program on the same data directory says that it is locked, and
// takes nothing away from the first.
func TestSecondProgramIsRefused(t *testing.T) {
	t.Parallel()
	g := start(t, "")
	g.apply(everything + serverDoc("weather", sample(t, "weather", false)))
	second := filepath.Join(g.dir, "second.yaml")
	config, err := os.ReadFile(g.config)
	if err != nil {
		t.Fatal(err)
	}
	g.write(second, string(config))
	other := g.in(t)
	other.config = second
	for _, verb := range []string{"up", "serve"} {
		r := other.run("", verb)
		if r.code != 1 || !strings.Contains(r.stderr, "registry.db") || !strings.Contains(r.stderr, "lock") || !strings.Contains(r.stderr, "hint: ") {
			t.Errorf("second %s: exit %d\n%s", verb, r.code, r.stderr)
		}
	}
	if r := g.run("", "db", "check"); r.code != 1 || !strings.Contains(r.stderr, "hint: stop the gateway") {
		t.Errorf("db check beside a running gateway: exit %d\n%s", r.code, r.stderr)
	}
	g.want("weather", g.token("alice", "all"), http.StatusOK)
	g.mustRun("", "status")
	g.mustRun("", "server", "disable", "weather")
}

// A backup of a running gateway is a registry that another can start from.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	g := start(t, "")
	g.apply(everything + serverDoc("weather", sample(t, "weather", true)))
	token := g.token("alice", "all")
	session := g.initialize("weather", token)
	backup := filepath.Join(g.dir, "backup.db")
	before := g.mustRun("", "export")
	g.mustRun("", "db", "backup", backup)
	if r := g.run("", "db", "backup", backup); r.code != 1 {
		t.Errorf("a backup was overwritten: exit %d\n%s", r.code, r.stdout)
	}
	g.mustRun("", "db", "check", backup)
	g.mustRun("", "server", "add", "later", "http://127.0.0.1:9/mcp")
	g.stop()

	live := filepath.Join(g.dir, "data", "registry.db")
	g.write(filepath.Join(g.dir, "torn.db"), "torn")
	if r := g.run("", "db", "restore", filepath.Join(g.dir, "torn.db")); r.code != 1 {
		t.Errorf("restore of a torn file: exit %d\n%s", r.code, r.stdout)
	}
	if err := os.Remove(live + ".replaced"); !os.IsNotExist(err) {
		t.Errorf("a refused restore has moved the registry: %v", err)
	}
	g.mustRun("", "db", "restore", backup)
	g.mustRun("", "db", "check")
	g.mustRun("", "db", "check", live+".replaced")
	g.startProgram()
	if diff := cmp.Diff(before, g.mustRun("", "export")); diff != "" {
		t.Errorf("registry from the backup (-before +after):\n%s", diff)
	}
	if a := g.post("weather", token, call("get_forecast"), session); a.status != http.StatusOK {
		t.Errorf("session of before the backup: %d %s", a.status, a.body)
	}
}
