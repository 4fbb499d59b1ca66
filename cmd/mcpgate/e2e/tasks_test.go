package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/demo"
)

const taskPolicy = `kind: Scope
name: all
rules: [{servers: ["*"], tools: ["*"], prompts: ["*"], resources: ["*"]}]
---
kind: Scope
name: some
rules: [{servers: ["*"], tools: [ask], prompts: [brief], resources: ["weather://a"]}]
---
kind: Scope
name: visit
rules: [{servers: ["*"]}]
`

// taskIDOf is the id of the task that an answer starts.
func taskIDOf(t testing.TB, text string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, `"taskId":"`)
	id, _, _ := strings.Cut(rest, `"`)
	if !ok || id == "" {
		t.Fatalf("no task in %s", text)
	}
	return id
}

// stream sends a message like post, and leaves the body of the answer to the
// caller.
func (g *gateway) stream(server, token, body string, header ...string) *http.Response {
	g.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, g.url+"/"+server+"/mcp", strings.NewReader(body))
	if err != nil {
		g.Fatal(err)
	}
	for _, h := range append(header, "Content-Type: application/json", "Accept: application/json, text/event-stream", "Authorization: Bearer "+token) {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := g.client.Do(req)
	if err != nil {
		g.Fatal(err)
	}
	return resp
}

// notFound is what is said of a task that is not the caller's, or is not.
func notFound(modern bool) (status int, body string) {
	body = `{"jsonrpc":"2.0","id":2,"error":{"code":-32602,"message":"task not found"}}`
	if modern {
		return http.StatusBadRequest, body
	}
	return http.StatusOK, body
}

func wantArrived(t testing.TB, s *taskServer, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, s.arrived(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("what the upstream got (-want +got):\n%s", diff)
	}
}

// A task is used by the principal that started it, on the server that it was
// started on, and by nobody else; a restart changes nothing. Whoever else asks
// cannot tell it from one that there is not, and the upstream does not hear.
func TestTasksBelongToWhoStartedThem(t *testing.T) {
	t.Parallel()
	g := start(t, unhurried)
	s := &taskServer{name: "t"}
	origin := serve(t, s)
	g.apply(taskPolicy + serverDoc("tasks", origin) + serverDoc("twin", origin))
	alice := g.token("alice", "all")
	strangers := map[string]string{
		"another subject":     g.token("mallory", "all"),
		"another client":      g.token("alice", "all", demo.Claims{"client_id": "other"}),
		"a prefix of subject": g.token("alic", "all", demo.Claims{"client_id": "edemo"}),
	}
	methods := map[bool][]string{false: {"tasks/get", "tasks/result", "tasks/cancel"}, true: {"tasks/get", "tasks/update", "tasks/cancel"}}
	type startedTask struct {
		modern bool
		id     string
	}
	var started []startedTask
	for _, modern := range []bool{false, true} {
		for _, tool := range []string{"json", "events"} {
			body, header := startTask(modern, tool)
			a := g.post("tasks", alice, body, header...)
			if a.status != http.StatusOK {
				t.Fatalf("%s: %d %s", body, a.status, a.body)
			}
			started = append(started, startedTask{modern, taskIDOf(t, a.body)})
		}
	}
	s.arrived()
	use := func(what string) {
		t.Helper()
		// A scope of the server is enough for the owner; it need not be the tool's.
		visitor := g.token("alice", "visit")
		for _, task := range started {
			for _, method := range methods[task.modern] {
				body, header := useTask(task.modern, method, task.id)
				if a := g.post("tasks", visitor, body, header...); a.status != http.StatusOK || taskIDOf(t, a.body) != task.id {
					t.Errorf("%s: %s of %s: %d %s", what, method, task.id, a.status, a.body)
				}
				wantArrived(t, s, method+" "+task.id)
				status, want := notFound(task.modern)
				for who, token := range strangers {
					for _, id := range []string{task.id, "unknown"} {
						body, header := useTask(task.modern, method, id)
						if a := g.post("tasks", token, body, header...); a.status != status || a.body != want || a.header.Get("WWW-Authenticate") != "" {
							t.Errorf("%s: %s: %s of %s: %d %s", what, who, method, id, a.status, a.body)
						}
					}
				}
				if a := g.post("twin", alice, body, header...); a.status != status || a.body != want {
					t.Errorf("%s: %s of %s on another server: %d %s", what, method, task.id, a.status, a.body)
				}
			}
		}
		wantArrived(t, s)
	}
	use("at once")

	// Nothing else of the era changes: lists are refused, a call that asks for
	// nothing passes.
	if a := g.post("tasks", alice, `{"jsonrpc":"2.0","id":2,"method":"tasks/list"}`, legacyHeader()...); a.status != http.StatusForbidden {
		t.Errorf("tasks/list: %d %s", a.status, a.body)
	}
	if a := g.post("tasks", alice, call("plain"), legacyHeader()...); a.status != http.StatusOK {
		t.Errorf("a plain call: %d %s", a.status, a.body)
	}
	s.arrived()

	g.stop()
	g.startProgram()
	use("after a restart")

	// Another upstream behind the name has other tasks.
	other := &taskServer{name: "other"}
	g.apply(serverDoc("tasks", serve(t, other)))
	for _, task := range started {
		body, header := useTask(task.modern, "tasks/get", task.id)
		status, want := notFound(task.modern)
		if a := g.post("tasks", alice, body, header...); a.status != status || a.body != want {
			t.Errorf("of the upstream before: %d %s", a.status, a.body)
		}
	}
	wantArrived(t, other)
}

// Events before the one that starts the task arrive while the upstream waits,
// and the task can be used the moment it is known.
func TestTaskStreamsArriveAsTheyAreSent(t *testing.T) {
	t.Parallel()
	g := start(t, unhurried)
	s := &taskServer{name: "t", held: make(chan struct{})}
	g.apply(taskPolicy + serverDoc("tasks", serve(t, s)))
	alice := g.token("alice", "all")
	for _, modern := range []bool{false, true} {
		body, header := startTask(modern, "events")
		resp := g.stream("tasks", alice, body, header...)
		lines := bufio.NewScanner(resp.Body)
		next := func() string {
			for lines.Scan() {
				if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
					return data
				}
			}
			t.Fatalf("the stream ended: %v", lines.Err())
			return ""
		}
		if got := next(); !strings.Contains(got, "notifications/progress") {
			t.Fatalf("first event %s", got)
		}
		s.held <- struct{}{}
		next()
		id := taskIDOf(t, next())
		body, header = useTask(modern, "tasks/get", id)
		if a := g.post("tasks", alice, body, header...); a.status != http.StatusOK || taskIDOf(t, a.body) != id {
			t.Errorf("%d %s", a.status, a.body)
		}
		drain(resp)
	}
}

// A client whose stream broke hears of its task by a replay, and it is its own.
func TestReplayedTaskIsBound(t *testing.T) {
	t.Parallel()
	g := start(t, unhurried)
	s := &taskServer{name: "t"}
	g.apply(taskPolicy + serverDoc("tasks", serve(t, s)))
	alice := g.token("alice", "all")
	body, header := startTask(false, "broken")
	if a := g.post("tasks", alice, body, header...); a.status != http.StatusOK || strings.Contains(a.body, "taskId") {
		t.Fatalf("%d %s", a.status, a.body)
	}
	get, header := useTask(false, "tasks/get", "t-1")
	status, want := notFound(false)
	if a := g.post("tasks", alice, get, header...); a.status != status || a.body != want {
		t.Errorf("before the replay: %d %s", a.status, a.body)
	}
	reply, _ := g.open(t, "tasks", alice, "MCP-Protocol-Version: 2025-11-25", "Last-Event-ID: e1").next()
	if id := taskIDOf(t, reply); id != "t-1" {
		t.Fatalf("replayed %s", reply)
	}
	if a := g.post("tasks", alice, get, header...); a.status != http.StatusOK || taskIDOf(t, a.body) != "t-1" {
		t.Errorf("after the replay: %d %s", a.status, a.body)
	}
	if a := g.post("tasks", g.token("mallory", "all"), get, header...); a.status != status || a.body != want {
		t.Errorf("another's: %d %s", a.status, a.body)
	}
}

// An upstream that gives one id to two principals: the second never sees it, and
// the first cannot use what may be the data of the second.
func TestTaskOfTwoPrincipalsIsNobodys(t *testing.T) {
	t.Parallel()
	g := start(t, unhurried)
	s := &taskServer{name: "t"}
	g.apply(taskPolicy + serverDoc("tasks", serve(t, s)))
	alice, mallory := g.token("alice", "all"), g.token("mallory", "all")
	body, header := startTask(true, "same")
	if a := g.post("tasks", alice, body, header...); a.status != http.StatusOK || taskIDOf(t, a.body) != "same" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := g.post("tasks", alice, body, header...); a.status != http.StatusOK {
		t.Errorf("the same task for the same principal: %d %s", a.status, a.body)
	}
	a := g.post("tasks", mallory, body, header...)
	if a.status != http.StatusBadGateway || strings.Contains(a.body, "same") || a.json(t)["error"] == nil {
		t.Errorf("the task of another: %d %s", a.status, a.body)
	}
	s.arrived()
	get, header := useTask(true, "tasks/get", "same")
	status, want := notFound(true)
	for _, token := range []string{alice, mallory} {
		if a := g.post("tasks", token, get, header...); a.status != status || a.body != want {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	wantArrived(t, s)
	if got := g.metrics()["tasks_contested_total"]; got != 1 {
		t.Errorf("%v contested", got)
	}
}

// Both limits at their value and one beyond.
func TestTaskLimits(t *testing.T) {
	t.Parallel()
	g := start(t, unhurried+"tasks: {max: 3, maxPerPrincipal: 2}\n")
	s := &taskServer{name: "t"}
	g.apply(taskPolicy + serverDoc("tasks", serve(t, s)))
	alice, bob := g.token("alice", "all"), g.token("bob", "all")
	begin := func(token, tool string) answer {
		body, header := startTask(false, tool)
		return g.post("tasks", token, body, header...)
	}
	owns := func(token, id string) bool {
		body, header := useTask(false, "tasks/get", id)
		return strings.Contains(g.post("tasks", token, body, header...).body, `"status"`)
	}
	var ids []string
	for range 3 {
		ids = append(ids, taskIDOf(t, begin(alice, "json").body))
	}
	if owns(alice, ids[0]) || !owns(alice, ids[1]) || !owns(alice, ids[2]) {
		t.Error("not exactly the oldest task of the principal is gone")
	}
	third := taskIDOf(t, begin(bob, "json").body)
	if a := begin(bob, "json"); a.status != http.StatusBadGateway || strings.Contains(a.body, "t-") {
		t.Errorf("one more than there may be: %d %s", a.status, a.body)
	}
	body, header := startTask(false, "events")
	resp := g.stream("tasks", bob, body, header...)
	if text, _ := io.ReadAll(resp.Body); strings.Contains(string(text), "taskId") {
		t.Errorf("one more than there may be, as events: %s", text) // it is cut, or refused when that comes first
	}
	drain(resp)
	if !owns(bob, third) || !owns(alice, ids[2]) {
		t.Error("a task that was there is gone")
	}
	if full, evicted := g.limitHits("tasks.max"), g.limitHits("tasks.maxPerPrincipal"); full != 2 || evicted != 1 {
		t.Errorf("limit hits: %v in all, %v of a principal", full, evicted)
	}
	if a := begin(bob, "plain"); a.status != http.StatusOK {
		t.Errorf("a call that starts no task: %d %s", a.status, a.body)
	}
}

// subscriptions/listen is judged task by task, and notifications carry the ids
// that the client knows.
func TestTaskSubscriptions(t *testing.T) {
	t.Parallel()
	g := start(t, unhurried)
	s := &taskServer{name: "t"}
	g.apply(taskPolicy + serverDoc("tasks", serve(t, s)))
	alice, mallory := g.token("alice", "all"), g.token("mallory", "all")
	body, header := startTask(true, "json")
	first, second := taskIDOf(t, g.post("tasks", alice, body, header...).body), taskIDOf(t, g.post("tasks", alice, body, header...).body)
	theirs := taskIDOf(t, g.post("tasks", mallory, body, header...).body)
	s.arrived()
	listen := func(ids ...string) answer {
		body := fmt.Sprintf(`{"jsonrpc":"2.0","id":2,"method":"subscriptions/listen","params":{"notifications":{"taskIds":["%s"]},`+capableMeta+`}}`, strings.Join(ids, `","`))
		return g.post("tasks", alice, body, modernHeader("subscriptions/listen", "")...)
	}
	if a := listen(first, second); a.status != http.StatusOK || taskIDOf(t, a.body) != first {
		t.Errorf("my own: %d %s", a.status, a.body)
	}
	wantArrived(t, s, "subscriptions/listen "+first+","+second)
	status, want := notFound(true)
	for _, ids := range [][]string{{theirs}, {first, theirs}, {"unknown", first}, {""}} {
		if a := listen(ids...); a.status != status || a.body != want {
			t.Errorf("%q: %d %s", ids, a.status, a.body)
		}
	}
	wantArrived(t, s)
}

// A retry with inputResponses and requestState is judged as if nothing had gone
// before: what was asked first grants nothing.
func TestRetriesAreJudgedAfresh(t *testing.T) {
	t.Parallel()
	g := start(t, unhurried)
	s := &taskServer{name: "t"}
	g.apply(taskPolicy + serverDoc("tasks", serve(t, s)))
	some, visit := g.token("alice", "some"), g.token("alice", "visit")
	for _, tc := range []struct{ method, member, target, other string }{
		{"tools/call", "name", "ask", "json"},
		{"prompts/get", "name", "brief", "secret"},
		{"resources/read", "uri", "weather://a", "weather://b"},
	} {
		send := func(token, target, more string) answer {
			body := fmt.Sprintf(`{"jsonrpc":"2.0","id":3,"method":%q,"params":{%q:%q%s,`+capableMeta+`}}`, tc.method, tc.member, target, more)
			return g.post("tasks", token, body, modernHeader(tc.method, target)...)
		}
		const retry = `,"inputResponses":{"q":{"action":"accept","content":{}}},"requestState":"step-1"`
		first := send(some, tc.target, "")
		if first.status != http.StatusOK || !strings.Contains(first.body, "input_required") {
			t.Fatalf("%s: %d %s", tc.method, first.status, first.body)
		}
		if a := send(some, tc.target, retry); a.status != http.StatusOK || strings.Contains(a.body, "input_required") {
			t.Errorf("%s: the retry: %d %s", tc.method, a.status, a.body)
		}
		wantArrived(t, s, tc.method+" "+tc.target, tc.method+" "+tc.target)
		// Another target, or the same one after the scope is gone.
		for _, a := range []answer{send(some, tc.other, retry), send(visit, tc.target, retry)} {
			if a.status != http.StatusForbidden || !strings.Contains(a.header.Get("WWW-Authenticate"), "insufficient_scope") {
				t.Errorf("%s: %d %s", tc.method, a.status, a.body)
			}
		}
		wantArrived(t, s)
	}
	// The registry's change holds for the next retry.
	g.apply("kind: Scope\nname: some\nrules: [{servers: [\"*\"]}]\n")
	body := `{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"ask","inputResponses":{},"requestState":"step-1",` + capableMeta + `}}`
	if a := g.post("tasks", some, body, modernHeader("tools/call", "ask")...); a.status != http.StatusForbidden {
		t.Errorf("after the change: %d %s", a.status, a.body)
	}
	wantArrived(t, s)
}

// What a client answers and notifies passes on a server that it may use, and
// names no task of another's.
func TestClientMessagesPass(t *testing.T) {
	t.Parallel()
	g := start(t, unhurried)
	s := &taskServer{name: "t"}
	g.apply(taskPolicy + serverDoc("tasks", serve(t, s)))
	alice, nobody := g.token("alice", "visit"), g.token("alice", "nothing")
	for _, tc := range []struct {
		body    string
		arrived string
	}{
		{`{"jsonrpc":"2.0","id":7,"result":{"task":{"taskId":"c-1","status":"working"}}}`, ""},
		{`{"jsonrpc":"2.0","id":7,"error":{"code":-1,"message":"declined"}}`, ""},
		{`{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"c-1","status":"completed"}}`, "notifications/tasks/status c-1"},
		{`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`, "notifications/progress"},
		{`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, "notifications/cancelled"},
	} {
		if a := g.post("tasks", nobody, tc.body, legacyHeader()...); a.status != http.StatusForbidden {
			t.Errorf("%s without a scope: %d %s", tc.body, a.status, a.body)
		}
		wantArrived(t, s)
		if a := g.post("tasks", alice, tc.body, legacyHeader()...); a.status >= 300 {
			t.Errorf("%s: %d %s", tc.body, a.status, a.body)
		}
		wantArrived(t, s, tc.arrived)
	}
	if a := g.post("tasks", alice, `{"jsonrpc":"2.0","method":"notifications/x","params":{"taskId":"c-1"}}`, legacyHeader()...); a.status != http.StatusBadRequest {
		t.Errorf("a notification about another's task: %d %s", a.status, a.body)
	}
	wantArrived(t, s)
}
