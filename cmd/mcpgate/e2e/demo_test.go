package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mcpgate/mcpgate/envoy/envoytest"
)

// The commands that `mcpgate demo` prints do what it says of them, as they are
// printed; Ctrl-C leaves nothing running and nothing behind.
func TestDemoCommandsWork(t *testing.T) {
	t.Parallel()
	g := prepare(t)
	temp := filepath.Join(g.dir, "t")
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	g.address = fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t))
	g.url = "http://" + g.address
	p := &process{Cmd: exec.Command(self, "demo", "--listen", g.address), t: t, done: make(chan struct{})}
	p.Env = append(programEnviron(), "TMPDIR="+temp)
	p.Stdout, p.Stderr, p.WaitDelay = g.logs, g.logs, time.Second
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.Wait() // the state tells how it ended
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.done
	})
	g.eventually("the guide is printed", func() bool {
		return strings.Contains(g.logs.String(), "# 5.") && strings.HasSuffix(g.logs.String(), "\n")
	})

	var commands []string
	for line := range strings.Lines(g.logs.String()) {
		if strings.HasPrefix(line, "curl ") || strings.Contains(line, " --admin ") {
			commands = append(commands, line)
		}
	}
	want := [][]string{
		{"get_forecast", "list_alerts"},
		{"Tomorrow in Oslo"},
		{"403 Forbidden", `error="insufficient_scope"`, `scope="weather:write"`},
		{"server/clock created", `"text":"2`},
		{"deny, status 403", "scope-insufficient", "weather:write"},
	}
	if len(commands) != len(want) {
		t.Fatalf("%d commands are printed, want %d:\n%s", len(commands), len(want), g.logs)
	}
	for i, command := range commands {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		sh := exec.CommandContext(ctx, "sh", "-c", command)
		sh.Env = programEnviron()
		var out bytes.Buffer
		sh.Stdout, sh.Stderr = &out, &out
		err := sh.Run()
		cancel()
		if err != nil {
			t.Errorf("command %d: %v\n%s", i+1, err, out.String())
		}
		for _, text := range want[i] {
			if !strings.Contains(out.String(), text) {
				t.Errorf("command %d lacks %q:\n%s", i+1, text, out.String())
			}
		}
		if i == 0 && strings.Contains(out.String(), "set_alert") {
			t.Errorf("alice sees set_alert:\n%s", out.String())
		}
	}

	p.signal(syscall.SIGINT)
	if code := p.end(); code != 0 {
		t.Errorf("exit %d\n%s", code, g.logs)
	}
	if !g.portFree() {
		t.Error("the port is not free")
	}
	left, err := os.ReadDir(temp)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		t.Errorf("left behind: %s", entry.Name())
	}
}
