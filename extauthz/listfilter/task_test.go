package listfilter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/mcpgate/mcpgate/extauthz/session"
)

// binder is a Tasks that remembers what it was asked.
type binder struct {
	mu    sync.Mutex
	bound []string
	// err refuses, before when set is called first.
	err    error
	before func()
}

func (b *binder) Bind(_ context.Context, o session.Owner, generation int64, id string, ttl time.Duration) error {
	if b.before != nil {
		b.before()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bound = append(b.bound, fmt.Sprintf("%s.%s.%s.%s@%d %s %s", o.Issuer, o.Subject, o.Client, o.Server, generation, id, ttl))
	return b.err
}

const (
	ofAlice    = "corp.alice.agent.weather@3 "
	legacyTask = `{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"t-1","status":"working","createdAt":"2025-11-25T10:30:00Z","ttl":60000}}}`
	modernTask = `{"jsonrpc":"2.0","id":1,"result":{"resultType":"task","taskId":"t-1","status":"working","ttlMs":60000,"pollIntervalMs":5000}}`
	toolResult = `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"\ud800"}],"structuredContent":{"a":1,"a":2,"taskId":"x","task":{"taskId":"y"}}}}`
)

func ofTask(changes ...string) []string {
	return append([]string{"inspect=task", "method=tools/call"}, changes...)
}

// TestTaskReplies: each reply that may start a task, what is bound, and that
// the client gets it byte for byte or not at all.
func TestTaskReplies(t *testing.T) {
	t.Parallel()
	pass := func(reply string, bound ...string) row {
		for i := range bound {
			bound[i] = ofAlice + bound[i]
		}
		return row{reply: reply, want: reply, bound: bound}
	}
	result := func(members string) string { return `{"jsonrpc":"2.0","id":1,"result":{` + members + `}}` }
	for name, tc := range map[string]row{
		"of 2025-11-25":      pass(legacyTask, "t-1 1m0s"),
		"of the extension":   pass(modernTask, "t-1 1m0s"),
		"without ttl":        pass(result(`"task":{"taskId":"t"}`), "t 0s"),
		"with unlimited ttl": pass(result(`"task":{"taskId":"t","ttl":null}`), "t 0s"),
		"with odd ttl":       pass(result(`"task":{"taskId":"t","ttl":"60"}`), "t 0s"),
		"with negative ttl":  pass(result(`"task":{"taskId":"t","ttl":-1}`), "t 0s"),
		"with huge ttl":      pass(result(`"resultType":"task","taskId":"t","ttlMs":1e300`), "t 0s"),
		"with half a second": pass(result(`"resultType":"task","taskId":"t","ttlMs":500.5`), "t 500.5ms"),
		"with escapes":       pass(result(`"task":{"t\u0061skId":"\u0074-\ud83d\ude00\n"}`), "t-😀\n 0s"),
		"type after the id":  pass(result(`"taskId":"t","resultType":"t\u0061sk"`), "t 0s"),
		"of both forms":      pass(result(`"resultType":"task","taskId":"t","task":{"taskId":"u"}`), "t 0s", "u 0s"),
		"with white space":   pass(" \n"+strings.ReplaceAll(legacyTask, `":`, "\" :\t")+"\n", "t-1 1m0s"),

		"a tool's result":                 pass(toolResult),
		"an error":                        pass(failure("1", -32601, "no")),
		"an error with data":              pass(`{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m","data":{"task":{"taskId":"t"},"resultType":"task","taskId":"t"}}}`),
		"input required":                  pass(result(`"resultType":"input_required","inputRequests":{"a":{}},"requestState":"s"`)),
		"a task id of a complete result":  pass(result(`"resultType":"complete","taskId":"t"`)),
		"a task id of no type":            pass(result(`"taskId":"t"`)),
		"a type that is none":             pass(result(`"resultType":7,"taskId":"t"`)),
		"a task that is none":             pass(result(`"task":"t"`)),
		"a task without id":               pass(result(`"task":{"status":"working"}`)),
		"a result that is none":           pass(`{"jsonrpc":"2.0","id":1,"result":null}`),
		"a reply to another without task": pass(`{"jsonrpc":"2.0","id":2,"result":{}}`),
		"a list":                          pass(listed),

		"id of another request": {reply: strings.Replace(legacyTask, `"id":1`, `"id":2`, 1), why: reasonID},
		"no id":                 {reply: strings.Replace(legacyTask, `"id":1,`, ``, 1), why: reasonID},
		"id twice":              {reply: result(`"task":{"taskId":"t","taskId":"u"}`), why: reasonDuplicate},
		"task twice":            {reply: result(`"task":{"taskId":"t"},"task":{"taskId":"u"}`), why: reasonDuplicate},
		"result twice":          {reply: `{"id":1,"result":{},"result":{"task":{"taskId":"u"}}}`, why: reasonDuplicate},
		"folded id":             {reply: result(`"task":{"taskId":"t","TaskID":"u"}`), why: reasonFolded},
		"folded task":           {reply: result(`"Task":{"taskId":"t"}`), why: reasonFolded},
		"folded result":         {reply: `{"id":1,"Result":{"task":{"taskId":"u"}}}`, why: reasonFolded},
		"id that is a number":   {reply: result(`"task":{"taskId":7}`), why: reasonTask},
		"id that is null":       {reply: result(`"resultType":"task","taskId":null`), why: reasonTask},
		"id of half a pair":     {reply: result(`"task":{"taskId":"\ud800"}`), why: reasonTask},
		"batch":                 {reply: "[" + legacyTask + "]", why: reasonShape},
		"request and reply":     {reply: `{"id":1,"method":"x","result":{"task":{"taskId":"t"}}}`, why: reasonShape},
		"truncated":             {reply: legacyTask[:80], why: reasonSyntax},
		"trailing":              {reply: legacyTask + "{}", why: reasonSyntax},
		"not UTF-8":             {reply: "{\"id\":1,\"result\":{\"a\":\"\xff\"}}", why: reasonSyntax},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &binder{}
			got := treat(t, newServer(t, Config{Tasks: b}), start(about(ofTask()...), false, ok, asJSON), last(tc.reply))
			want := passed(tc.want)
			if tc.why != "" {
				want = refused(502, unusable("1"))
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(answered{}), cmpopts.EquateErrors()); diff != "" {
				t.Errorf("JSON (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(tc.bound, b.bound, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("bound (-want +got)\n%s", diff)
			}

			// The same in an event, between two others.
			b = &binder{}
			one := "event: message\nid: 7\ndata: " + strings.ReplaceAll(strings.TrimSpace(tc.reply), "\n", "\ndata: ") + "\n\n"
			got = treat(t, newServer(t, Config{Tasks: b}), start(about(ofTask()...), false, ok, asEvents),
				piece(progress), piece(one[:len(one)/2]), piece(one[len(one)/2:]), piece(progress), last(""))
			if tc.why == "" {
				if got.body != progress+one+progress || !got.ended {
					t.Errorf("events: got %+v", got)
				}
			} else if got.body != progress || got.ended || !cutWith(got.err, tc.why) {
				t.Errorf("events: got %+v, want %s", got, tc.why)
			}
			if diff := cmp.Diff(tc.bound, b.bound, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("bound from events (-want +got)\n%s", diff)
			}
		})
	}
}

// row is a reply of TestTaskReplies.
type row struct {
	reply string
	// want is what the client gets, or why is why it gets nothing.
	want  string
	bound []string
	why   reason
}

const progress = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":1,\"progress\":1}}\n\n"

// TestUnboundTaskIsNeverShown: whatever keeps a task from being bound, the
// client does not learn its id.
func TestUnboundTaskIsNeverShown(t *testing.T) {
	t.Parallel()
	for name, tasks := range map[string]Tasks{
		"no table":      nil,
		"another's":     &binder{err: errors.New("task is of two principals")},
		"store is gone": &binder{err: fmt.Errorf("bind task: %w", context.DeadlineExceeded)},
		"panic":         &binder{before: func() { panic("t-1") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, reply := range []string{legacyTask, modernTask} {
				got := treat(t, newServer(t, Config{Tasks: tasks}), start(about(ofTask()...), false, ok, asJSON), last(reply))
				if diff := cmp.Diff(refused(502, unusable("1")), got, cmp.AllowUnexported(answered{})); diff != "" {
					t.Errorf("JSON (-want +got)\n%s", diff)
				}
				for _, mode := range [][]string{ofTask(), {"inspect=resume", "method=", "id="}} {
					if mode[0] == "inspect=resume" && reply == modernTask {
						continue // there is nothing to resume in the modern era
					}
					got = treat(t, newServer(t, Config{Tasks: tasks}), start(about(mode...), false, ok, asEvents), last(progress+"id: 9\ndata: "+reply+"\n\n"))
					if strings.Contains(got.body, "t-1") || got.ended || got.err == nil {
						t.Errorf("%s: got %+v", mode[0], got)
					}
				}
			}
		})
	}
}

// TestTaskErrorRepliesAreBoundToo: a client may read a body whatever its status
// is.
func TestTaskErrorRepliesAreBoundToo(t *testing.T) {
	t.Parallel()
	b := &binder{}
	got := treat(t, newServer(t, Config{Tasks: b}), start(about(ofTask()...), false, ":status= 500", asJSON), last(legacyTask))
	if got.body != legacyTask || len(b.bound) != 1 {
		t.Errorf("got %+v, bound %q", got, b.bound)
	}
	b = &binder{err: errors.New("no")}
	got = treat(t, newServer(t, Config{Tasks: b}), start(about(ofTask()...), false, ":status= 500", asJSON), last(legacyTask))
	if strings.Contains(got.body, "t-1") {
		t.Errorf("got %+v", got)
	}
	for _, tc := range []struct{ status, contentType string }{{"200", "text/plain"}, {"200", ""}, {"200", "application/json; charset=utf-16"}} {
		got := treat(t, newServer(t, Config{Tasks: b}), start(about(ofTask()...), false, ":status= "+tc.status, "content-type= "+tc.contentType), last(legacyTask))
		if got.immediate != 502 {
			t.Errorf("%q: got %+v", tc.contentType, got)
		}
	}
}

// TestReplayBindsTheTaskThatItHolds: a client whose stream broke before the
// reply came hears of its task by a replay.
func TestReplayBindsTheTaskThatItHolds(t *testing.T) {
	t.Parallel()
	b := &binder{}
	in := progress + "id: 9\ndata: " + strings.Replace(legacyTask, `"id":1`, `"id":"other"`, 1) + "\n\n"
	got := treat(t, newServer(t, Config{Tasks: b}), start(about("inspect=resume", "method=", "id="), false, ok, asEvents), last(in))
	if got.body != in || !cmp.Equal(b.bound, []string{ofAlice + "t-1 1m0s"}) {
		t.Errorf("got %+v, bound %q", got, b.bound)
	}
}

// TestTaskDecisions: the mode is for tools/call with an id.
func TestTaskDecisions(t *testing.T) {
	t.Parallel()
	for _, changes := range [][]string{{"method=tools/list"}, {"method="}, {"id="}, {"id=x"}, {"subject="}, {"issuer="}, {"route=inspect:other@3"}} {
		got := treat(t, newServer(t, Config{Tasks: &binder{}}), start(about(ofTask(changes...)...), false, ok, asJSON), last(legacyTask))
		if got.immediate != 500 {
			t.Errorf("%v: got %+v", changes, got)
		}
	}
}

// TestEventsOfATaskCallStream: each event comes before the upstream sends more,
// and the one that starts the task after it is bound.
func TestEventsOfATaskCallStream(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}), make(chan struct{})
	b := &binder{before: func() { close(asked); <-answer }}
	w := open(t, dial(t, newServer(t, Config{Tasks: b})))
	w.send(start(about(ofTask()...), false, ok, asEvents))
	if m := w.next(); m.GetResponseHeaders() == nil {
		t.Fatalf("got %v", m)
	}
	body := func() string {
		return string(w.next().GetResponseBody().GetResponse().GetBodyMutation().GetStreamedResponse().GetBody())
	}
	for range 3 {
		w.send(piece(progress))
		if got := body(); got != progress {
			t.Fatalf("got %q", got)
		}
	}
	w.send(piece("data: " + legacyTask + "\n\n"))
	<-asked
	b.mu.Lock()
	if len(b.bound) != 0 {
		t.Errorf("bound %q", b.bound)
	}
	b.mu.Unlock()
	close(answer)
	if got := body(); got != "data: "+legacyTask+"\n\n" {
		t.Fatalf("got %q", got)
	}
	w.cancel()
}

// TestReadStartsProperty: tasks are found wherever the result has them, by
// writing results with an encoder and reading them back.
func TestReadStartsProperty(t *testing.T) {
	t.Parallel()
	word := rapid.SampledFrom([]string{"task", "taskId", "ttl", "ttlMs", "resultType", "complete", "content", "a"})
	junk := rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{
			`1`, `null`, `"task"`, `{}`, `[]`, `{"task":{"taskId":"no"},"taskId":"no","resultType":"task"}`, `[{"taskId":"no"}]`,
			`{"a":1,"a":2}`, `"\udc00"`, `-0.5e7`, `" "`, `"\\\""`,
		}).Draw(t, "junk")
	})
	rapid.Check(t, func(t *rapid.T) {
		var members, want []string
		add := func(name, value string) { members = append(members, fmt.Sprintf("%q : %s", name, value)) }
		id := rapid.StringMatching(`[ -!#-\[\]-~é😀]{1,20}`)
		isTask := rapid.Bool().Draw(t, "type")
		if isTask {
			add("resultType", `"task"`)
		}
		if rapid.Bool().Draw(t, "modern") {
			v := id.Draw(t, "id")
			add("taskId", fmt.Sprintf("%q", v))
			if isTask {
				want = append(want, v)
			}
		}
		legacy := rapid.Bool().Draw(t, "legacy")
		var v string
		if legacy {
			v = id.Draw(t, "id")
			want = append(want, v)
			inner := []string{fmt.Sprintf(`"taskId":%q`, v), `"status":` + junk.Draw(t, "status"), `"x":` + junk.Draw(t, "x")}
			add("task", "{"+strings.Join(rapid.Permutation(inner).Draw(t, "inner"), ",")+"}")
		}
		for range rapid.IntRange(0, 3).Draw(t, "more") {
			add("_"+word.Draw(t, "name")+fmt.Sprint(len(members)), junk.Draw(t, "value"))
		}
		data := `{"jsonrpc":"2.0","id":1,"result":{` + strings.Join(rapid.Permutation(members).Draw(t, "order"), " ,") + `}}`
		_, tasks, err := readStarts([]byte(data))
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		var got []string
		for _, s := range tasks {
			got = append(got, s.id)
		}
		if !cmp.Equal(want, got, cmpopts.EquateEmpty()) {
			t.Fatalf("%s: got %q, want %q", data, got, want)
		}
	})
}

// FuzzReadStarts: no text makes the reader fail in another way than by a
// reason, and none is accepted that a JSON reader refuses.
func FuzzReadStarts(f *testing.F) {
	for _, s := range []string{legacyTask, modernTask, toolResult, listed, `{"id":1,"result":{"task":{"taskId":"\ud800"}}}`, `{"id":1,"error":{}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, tasks, err := readStarts(data)
		var why reason
		if err != nil && (!asReason(err, &why) || m != nil || tasks != nil) {
			t.Errorf("%v with %v, %v", err, m, tasks)
		}
		if err == nil && (string(m.data) != string(data) || !json.Valid(data)) {
			t.Error("the message is not the text, or no JSON")
		}
	})
}
