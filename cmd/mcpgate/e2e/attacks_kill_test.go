package e2e_test

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/mcpgate/mcpgate/envoy/envoytest"
)

// killable is a program of its own with an Envoy that survives it, and the
// recorder as server a.
type killable struct {
	*gateway
	program  *process
	upstream *recorder
	token    string
}

func startKillable(t testing.TB) *killable {
	t.Helper()
	g := prepare(t)
	g.configure("extAuthz: {timeout: 1s}\n")
	k := &killable{gateway: g, upstream: record(t)}
	k.restart()
	bootstrap := g.mustRun("", "bootstrap", "--envoy-admin", "unix:"+filepath.Join(g.dir, "hand.sock"))
	envoytest.Start(t, []byte(bootstrap), envoytest.WithDir(g.dir), envoytest.WithLogLevel("off"))
	g.eventually("the gateway serves", g.healthy)
	g.applyIssuer()
	g.apply("kind: Server\nname: a\nupstream: {url: " + k.upstream.url("/up/a") + "}\n---\n" +
		"kind: Scope\nname: use\nrules: [{servers: [a], tools: [get_forecast]}]\n---\nkind: Scope\nname: admin\nrules: [{servers: [a], tools: [set_alert]}]\n")
	k.token = g.token("alice", "use")
	k.eventually("a call is answered", func() bool { return k.status(call("get_forecast")) == http.StatusOK })
	return k
}

// restart starts the program and waits until it answers.
func (k *killable) restart() {
	k.Helper()
	k.program = k.spawn("serve")
	k.eventually("the program answers", func() bool { return k.run("", "status").code == 0 })
}

// kill ends the program as the kernel would.
func (k *killable) kill() {
	k.Helper()
	k.program.signal(syscall.SIGKILL)
	if code := k.program.end(); code != -1 {
		k.Errorf("exit %d of a killed program", code)
	}
}

const toolsList = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`

// ask sends a message to server a.
func (k *killable) ask(body string, headers ...string) outcome {
	lines := append([]string{"-Host", "Host: " + k.address}, headers...)
	r := row{http1: post1("/a/mcp", lines...), body: body}
	return exchange1(k.address, r.fill(r.http1, "kill", k.token)+body, 1)[0]
}

func (k *killable) status(body string) int { return k.ask(body).status }

// hold sends a message and returns when the upstream has it. The upstream
// answers after release; then answer gets what came back.
func (k *killable) hold(body string) (release func(), answer chan outcome) {
	k.Helper()
	arrived, released := make(chan struct{}), make(chan struct{})
	k.upstream.answerBy(func(_ net.Conn, s seen) bool {
		if s.one("x-hold") == "1" {
			arrived <- struct{}{}
			<-released
		}
		return false
	})
	answer = make(chan outcome, 1)
	k.eventually("a held request arrives", func() bool {
		go func() { answer <- k.ask(body, "X-Hold: 1") }()
		select {
		case <-arrived:
			return true
		case <-answer: // a decision came late, on a busy machine
			return false
		}
	})
	return func() { close(released) }, answer
}

// TestKilledProgramAllowsNothing is E6 §3 row 11: a program that is killed
// under load. What had been decided goes on, nothing else is allowed, and all
// is well as soon as a new one is there.
func TestKilledProgramAllowsNothing(t *testing.T) {
	t.Parallel()
	k := startKillable(t)

	// One call and one list are past their decision when it is killed.
	releaseCall, callAnswer := k.hold(call("get_forecast"))
	releaseList, listAnswer := k.hold(toolsList)
	var mu sync.Mutex
	answers := map[string]int{}
	quit := make(chan struct{})
	var clients sync.WaitGroup
	for name, body := range map[string]string{"call": call("get_forecast"), "list": toolsList, "forbidden": call("set_alert")} {
		clients.Go(func() {
			for {
				select {
				case <-quit:
					return
				default:
				}
				o := k.ask(body)
				mu.Lock()
				answers[fmt.Sprintf("%s: %d", name, o.status)]++
				mu.Unlock()
			}
		})
	}
	// saw waits until each of the clients has had the answer.
	saw := func(want ...string) {
		k.eventually(strings.Join(want, ", "), func() bool {
			mu.Lock()
			defer mu.Unlock()
			return !slices.ContainsFunc(want, func(w string) bool { return answers[w] < 10 })
		})
	}
	saw("call: 200", "list: 200", "forbidden: 403")
	k.kill()
	saw("call: 503", "list: 503", "forbidden: 503")
	close(quit)
	clients.Wait()
	for name := range answers {
		// A list may have been decided and not filtered.
		if !slices.Contains([]string{"call: 200", "call: 503", "list: 200", "list: 502", "list: 503", "forbidden: 403", "forbidden: 503"}, name) {
			t.Errorf("%d × %s", answers[name], name)
		}
	}

	before := k.upstream.count()
	for _, body := range []string{call("get_forecast"), toolsList, call("set_alert")} {
		o := k.ask(body)
		if o.status != http.StatusServiceUnavailable || o.header.Get("Retry-After") != "1" || !strings.Contains(o.body, noAuthz) {
			t.Errorf("without the program: %+v", o)
		}
		checkRefusal(t, o)
	}
	if a := k.get("/healthz"); a.status != http.StatusBadGateway && a.status != http.StatusServiceUnavailable {
		t.Errorf("healthz without the program: %d %s", a.status, a.body)
	}
	if n := k.upstream.count(); n != before {
		t.Errorf("the upstream got %d requests without the program", n-before)
	}

	releaseCall()
	if o := <-callAnswer; o.status != http.StatusOK {
		t.Errorf("the call that was decided: %+v", o)
	}
	releaseList()
	o := <-listAnswer
	if o.status != http.StatusBadGateway || !strings.Contains(o.body, "reply filter unavailable") || strings.Contains(o.body, "secret_tool") {
		t.Errorf("the list that was decided and not filtered: %+v", o)
	}
	checkRefusal(t, o)

	k.restart()
	k.eventually("a call is answered again", func() bool { return k.status(call("get_forecast")) == http.StatusOK })
	if o := k.ask(toolsList); o.status != http.StatusOK || strings.Contains(o.body, "secret_tool") || !strings.Contains(o.body, "get_forecast") {
		t.Errorf("list after the restart: %+v", o)
	}
	if o := k.ask(call("set_alert")); o.status != http.StatusForbidden {
		t.Errorf("forbidden call after the restart: %+v", o)
	}
	k.checkNothingForbidden(t)
}

// TestFrozenProgramAllowsNothing is the other part of E6 §3 row 11: a program
// that is there and does nothing.
func TestFrozenProgramAllowsNothing(t *testing.T) {
	t.Parallel()
	k := startKillable(t)
	releaseCall, callAnswer := k.hold(call("get_forecast"))
	releaseList, listAnswer := k.hold(toolsList)
	k.program.signal(syscall.SIGSTOP)
	k.eventually("every thread is frozen", func() bool { return frozen(k.program.Process.Pid) })
	before := k.upstream.count()
	for _, body := range []string{call("get_forecast"), toolsList, call("set_alert")} {
		if o := k.ask(body); o.status != http.StatusServiceUnavailable || !strings.Contains(o.body, noAuthz) {
			t.Errorf("while it is frozen: %+v", o)
		}
	}
	if n := k.upstream.count(); n != before {
		t.Errorf("the upstream got %d requests while it was frozen", n-before)
	}
	releaseCall()
	if o := <-callAnswer; o.status != http.StatusOK {
		t.Errorf("the call that was decided: %+v", o)
	}
	releaseList()
	if o := <-listAnswer; o.status < 500 || strings.Contains(o.body, "secret_tool") {
		t.Errorf("the list that was decided and not filtered: %+v", o)
	}
	k.program.signal(syscall.SIGCONT)
	k.eventually("a call is answered again", func() bool { return k.status(call("get_forecast")) == http.StatusOK })
	k.eventually("a list is answered again", func() bool { return k.status(toolsList) == http.StatusOK })
	k.checkNothingForbidden(t)
}

// frozen reports whether every thread of a process is stopped. Where there is
// no /proc it cannot tell.
func frozen(pid int) bool {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false
	}
	for _, f := range files {
		stat, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue // the thread has ended
		}
		_, state, _ := strings.Cut(string(stat), ") ")
		if !strings.HasPrefix(state, "T") {
			return false
		}
	}
	return true
}

// checkNothingForbidden looks at all that ever arrived.
func (k *killable) checkNothingForbidden(t *testing.T) {
	t.Helper()
	if rows := slices.Collect(maps.Keys(k.upstream.rows())); !slices.Equal(rows, []string{"kill"}) {
		t.Errorf("the upstream got requests of %q", rows)
	}
	for _, s := range k.upstream.of("kill") {
		if strings.Contains(s.body, "set_alert") || s.one("x-mcpgate-subject") != "alice" || s.one("authorization") != "(absent)" {
			t.Errorf("the upstream got %+v", s)
		}
	}
}
