package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/api"
	"github.com/mcpgate/mcpgate/registry/registrytest"
)

// fixture is the API over a store in memory.
type fixture struct {
	*testing.T
	store   registry.Store
	handler http.Handler
	logs    *strings.Builder
	backend api.Backend
}

func newFixture(t *testing.T, change ...func(*api.Backend)) *fixture {
	t.Helper()
	f := &fixture{T: t, store: registrytest.NewMemory(), logs: &strings.Builder{}}
	t.Cleanup(func() {
		if err := f.store.Close(); err != nil {
			t.Error(err)
		}
	})
	f.backend = api.Backend{
		Store: f.store,
		Wait: func(context.Context, int64) (api.Rollout, error) {
			return api.Rollout{Envoys: 1, Complete: true}, nil
		},
		Status:  func() any { return map[string]int{"answer": 42} },
		Explain: func(_ context.Context, req api.ExplainRequest) (any, error) { return req, nil },
		Dump:    func(w io.Writer) error { _, err := io.WriteString(w, "resources: []\n"); return err },
		Backup:  func(_ context.Context, w io.Writer) error { _, err := io.WriteString(w, "copy"); return err },
		Version: "9.9.9",
		Log:     slog.New(slog.NewTextHandler(f.logs, nil)),
	}
	for _, c := range change {
		c(&f.backend)
	}
	f.handler = api.New(f.backend)
	return f
}

// do sends a request; header lists "Name: value".
func (f *fixture) do(method, target, body string, header ...string) *httptest.ResponseRecorder {
	f.Helper()
	req := httptest.NewRequest(method, target, strings.NewReader(body))
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, req)
	return w
}

// want sends a request and checks the status; an error is JSON that says the
// same.
func (f *fixture) want(status int, method, target, body string, header ...string) *httptest.ResponseRecorder {
	f.Helper()
	w := f.do(method, target, body, header...)
	if w.Code != status {
		f.Fatalf("%s %s: %d, want %d\n%s", method, target, w.Code, status, w.Body)
	}
	if w.Header().Get("Cache-Control") != "no-store" {
		f.Errorf("%s %s may be stored by caches", method, target)
	}
	if status >= 400 {
		var e api.Error
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Status != status || e.Message == "" {
			f.Errorf("%s %s: error body %q", method, target, w.Body)
		}
		if ct := w.Header().Get("Content-Type"); ct != "application/json" {
			f.Errorf("%s %s: content type %q", method, target, ct)
		}
	}
	return w
}

const (
	weather     = `{"kind":"Server","name":"weather","upstream":{"url":"http://127.0.0.1:9/mcp"}}`
	weatherAt   = "/api/v1/servers/weather"
	weatherRead = "---\nkind: Scope\nname: weather:read\nrules: [{servers: [weather], tools: [a]}]\n"
)

func answerOf(t *testing.T, w *httptest.ResponseRecorder) api.WriteAnswer {
	t.Helper()
	var a api.WriteAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestPreconditions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.want(404, "GET", weatherAt, "")
	f.want(409, "PUT", weatherAt, weather, `If-Match: "1"`)
	created := answerOf(t, f.want(200, "PUT", weatherAt, weather, "If-None-Match: *"))
	if diff := cmp.Diff([]api.Outcome{{Kind: "Server", Name: "weather", Action: "created"}}, created.Outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	f.want(409, "PUT", weatherAt, weather, "If-None-Match: *")
	etag := f.want(200, "GET", weatherAt, "").Header().Get("ETag")
	if etag != fmt.Sprintf("%q", fmt.Sprint(created.Revision)) {
		t.Errorf("ETag %s after revision %d", etag, created.Revision)
	}
	changed := strings.Replace(weather, `"name"`, `"title":"Weather","name"`, 1)
	f.want(200, "PUT", weatherAt, changed, "If-Match: "+etag)
	f.want(409, "PUT", weatherAt, weather, "If-Match: "+etag)
	f.want(409, "DELETE", weatherAt, "", "If-Match: "+etag)
	// The body of a GET may be sent back as it is.
	got := f.want(200, "GET", weatherAt, "")
	again := answerOf(t, f.want(200, "PUT", weatherAt, got.Body.String(), "If-Match: "+got.Header().Get("ETag")))
	if again.Outcomes[0].Action != registry.Unchanged {
		t.Errorf("writing what was read: %+v", again.Outcomes)
	}
	for _, bad := range []string{`If-Match: 1`, `If-Match: "0"`, `If-Match: "-1"`, `If-Match: "01"`, `If-Match: W/"1"`, `If-Match: "1", "2"`, `If-Match: ""`, `If-None-Match: "1"`} {
		f.want(400, "PUT", weatherAt, weather, bad)
		f.want(400, "DELETE", weatherAt, "", bad)
	}
	f.want(400, "PUT", weatherAt, weather, "If-None-Match: *", "If-Match: "+etag)
	f.want(200, "DELETE", weatherAt, "", "If-Match: "+got.Header().Get("ETag"))
	f.want(404, "DELETE", weatherAt, "")
}

func TestApplyIsOneTransaction(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	first := answerOf(t, f.want(200, "POST", "/api/v1/apply", weather+"\n"+weatherRead))
	if first.Revision != 1 || len(first.Outcomes) != 2 {
		t.Errorf("two documents made revision %d, outcomes %+v", first.Revision, first.Outcomes)
	}
	bad := "kind: Group\nname: g\nscopes: [weather:read]\n---\nkind: Group\nname: h\nscopes: [nosuch]\n"
	w := f.want(422, "POST", "/api/v1/apply", bad)
	var e api.Error
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || len(e.Problems) != 1 || e.Problems[0].Resource != "group/h" || e.Problems[0].Field != "scopes[0]" {
		t.Errorf("problems: %s", w.Body)
	}
	f.want(404, "GET", "/api/v1/groups/g", "")
	dry := answerOf(t, f.want(200, "POST", "/api/v1/apply?dryRun=true&prune=true", "kind: Group\nname: g\nscopes: []\n"))
	if !dry.DryRun || len(dry.Outcomes) != 3 || dry.Revision != 1 {
		t.Errorf("dry run: %+v", dry)
	}
	f.want(404, "GET", "/api/v1/groups/g", "")
	pruned := answerOf(t, f.want(200, "POST", "/api/v1/apply?prune=true", "kind: Group\nname: g\nscopes: []\n"))
	if pruned.Revision != 2 {
		t.Errorf("prune made revision %d", pruned.Revision)
	}
	f.want(404, "GET", weatherAt, "")
	f.want(200, "GET", "/api/v1/groups/g", "")
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.want(200, "PUT", weatherAt, weather)
	for _, c := range []struct {
		status             int
		method, path, body string
	}{
		{404, "GET", "/", ""},
		{404, "GET", "/api/v1", ""},
		{404, "GET", "/api/v2/servers", ""},
		{404, "GET", "/api/v1/nosuch", ""},
		{404, "GET", "/api/v1/nosuch/weather", ""},
		{404, "GET", "/api/v1/servers/weather/more", ""},
		{404, "GET", "/api/v1/sessionkeys", ""},
		{404, "GET", "/api/v1/SessionKey", ""},
		{404, "GET", "/api/v1/sessionkey/x", ""},
		{404, "PUT", "/api/v1/sessionkeys/x", `{"kind":"SessionKey","name":"x"}`},
		{404, "PATCH", weatherAt, weather},
		{400, "GET", "/api/v1/servers?limit=0", ""},
		{400, "GET", "/api/v1/servers?limit=1001", ""},
		{400, "GET", "/api/v1/servers?limit=x", ""},
		{400, "PUT", weatherAt, ""},
		{400, "PUT", weatherAt, "not: [yaml"},
		{400, "PUT", weatherAt, weather + weather},
		{400, "PUT", "/api/v1/servers/other", weather},
		{400, "PUT", "/api/v1/scopes/weather", weather},
		{400, "PUT", weatherAt, strings.Replace(weather, "upstream", "upstrem", 1)},
		{400, "PUT", weatherAt + "?wait=x", weather},
		{400, "PUT", weatherAt + "?wait=-1s", weather},
		{400, "PUT", weatherAt + "?wait=6m", weather},
		{400, "PUT", weatherAt + "?dryRun=perhaps", weather},
		{400, "POST", "/api/v1/apply?prune=perhaps", weather},
		{400, "POST", "/api/v1/apply", "kind: SessionKey\nname: x\n"},
		{400, "POST", "/api/v1/apply", "kind: Server\nname: a\nname: b\n"},
		{422, "PUT", weatherAt, strings.Replace(weather, "http:", "ftp:", 1)},
		{400, "POST", "/api/v1/explain", "{"},
		{400, "POST", "/api/v1/explain", `{"server":"a","method":"b","unknown":1}`},
	} {
		f.want(c.status, c.method, c.path, c.body)
	}
	if got := f.want(200, "GET", weatherAt, "").Body.String(); !strings.Contains(got, `"http://127.0.0.1:9/mcp"`) {
		t.Errorf("a refused write changed the server: %s", got)
	}
}

// spaces is an endless body that must not be kept.
type spaces struct{ read int64 }

// Read implements io.Reader.
func (s *spaces) Read(p []byte) (int, error) {
	n := copy(p, "                                ")
	p = p[:n]
	s.read += int64(len(p))
	return len(p), nil
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, target := range []string{"/api/v1/apply", "/api/v1/explain"} {
		body := &spaces{}
		req := httptest.NewRequest(http.MethodPost, target, body)
		req.ContentLength = api.MaxBodyBytes + 1
		w := httptest.NewRecorder()
		f.handler.ServeHTTP(w, req)
		if w.Code != http.StatusRequestEntityTooLarge || body.read > 0 {
			t.Errorf("%s with a length above the limit: %d, %d bytes read", target, w.Code, body.read)
		}
	}
	// Without a length the end is found while reading.
	body := &spaces{}
	req := httptest.NewRequest(http.MethodPost, "/api/v1/explain", body)
	req.ContentLength = -1
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, req)
	if w.Code != http.StatusRequestEntityTooLarge || body.read > 2*api.MaxExplainBytes {
		t.Errorf("endless body: %d, %d bytes read", w.Code, body.read)
	}
}

func TestListPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var documents strings.Builder
	for i := range 5 {
		fmt.Fprintf(&documents, "---\nkind: Group\nname: g/%d\nscopes: []\n", i)
	}
	f.want(200, "POST", "/api/v1/apply", documents.String())
	var names []string
	for path := "/api/v1/groups?limit=2"; path != ""; {
		var page api.ListAnswer
		if err := json.Unmarshal(f.want(200, "GET", path, "").Body.Bytes(), &page); err != nil {
			t.Fatal(err)
		}
		if len(page.Items) > 2 || page.Revision != 1 {
			t.Errorf("page: %+v", page)
		}
		for _, item := range page.Items {
			r, err := registry.Decode(item)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, r.Key().Name)
		}
		path = ""
		if page.Next != "" {
			path = "/api/v1/groups?limit=2&after=" + page.Next
		}
	}
	if diff := cmp.Diff([]string{"g/0", "g/1", "g/2", "g/3", "g/4"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if w := f.want(200, "GET", "/api/v1/servers", ""); !strings.Contains(w.Body.String(), `"items":[]`) {
		t.Errorf("empty list: %s", w.Body)
	}
}

func TestWriteWaitsForEnvoys(t *testing.T) {
	t.Parallel()
	var waited int64
	f := newFixture(t, func(b *api.Backend) {
		b.Wait = func(ctx context.Context, revision int64) (api.Rollout, error) {
			waited = revision
			switch revision {
			case 1:
				return api.Rollout{Envoys: 2, Complete: true, Rejections: []api.Rejection{{Node: "n", Type: "t", Resource: "r", Message: "no"}}}, nil
			case 2:
				<-ctx.Done()
				return api.Rollout{Envoys: 2}, ctx.Err()
			}
			return api.Rollout{}, errors.New("the socket is /secret/path")
		}
	})
	title := func(s string) string { return strings.Replace(weather, `"name"`, `"title":"`+s+`","name"`, 1) }
	a := answerOf(t, f.want(200, "PUT", weatherAt+"?wait=1s", title("a")))
	if waited != 1 || a.Rollout == nil || !a.Rollout.Complete || len(a.Rollout.Rejections) != 1 {
		t.Errorf("waited for %d, rollout %+v", waited, a.Rollout)
	}
	started := time.Now()
	a = answerOf(t, f.want(200, "PUT", weatherAt+"?wait=20ms", title("b")))
	if waited != 2 || a.Rollout == nil || a.Rollout.Complete || time.Since(started) < 20*time.Millisecond {
		t.Errorf("waited for %d, rollout %+v", waited, a.Rollout)
	}
	w := f.want(500, "PUT", weatherAt+"?wait=1s", title("c"))
	if strings.Contains(w.Body.String(), "secret") || !strings.Contains(f.logs.String(), "/secret/path") {
		t.Errorf("internal error on the wire %q, in the log %q", w.Body, f.logs)
	}
	for _, path := range []string{weatherAt, weatherAt + "?wait=0s", weatherAt + "?wait=1s&dryRun=true"} {
		waited = 0
		if a := answerOf(t, f.want(200, "PUT", path, title("d"))); waited != 0 || a.Rollout != nil {
			t.Errorf("%s waited for %d, rollout %+v", path, waited, a.Rollout)
		}
	}
}

func TestReadings(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.want(200, "POST", "/api/v1/apply", weather+"\n"+weatherRead)
	for path, want := range map[string]string{
		"/api/v1/status":  `{"answer":42}`,
		"/api/v1/version": `{"version":"9.9.9"}`,
		"/api/v1/xds":     "resources: []",
		"/api/v1/backup":  "copy",
	} {
		if got := strings.TrimSpace(f.want(200, "GET", path, "").Body.String()); got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
	export := f.want(200, "GET", "/api/v1/export", "").Body.String()
	if strings.Contains(export, "metadata") || strings.Index(export, "kind: Server") > strings.Index(export, "kind: Scope") {
		t.Errorf("export:\n%s", export)
	}
	again := answerOf(t, f.want(200, "POST", "/api/v1/apply?prune=true", export))
	for _, o := range again.Outcomes {
		if o.Action != registry.Unchanged {
			t.Errorf("applying the export: %+v", o)
		}
	}
	got := f.want(200, "POST", "/api/v1/explain", `{"server":"weather","method":"ping","scopes":["a"]}`).Body.String()
	if !strings.Contains(got, `"scopes":["a"]`) {
		t.Errorf("explain: %s", got)
	}
}

// Over a network only the bearer of the token gets in, and never a browser.
func TestAuthenticate(t *testing.T) {
	t.Parallel()
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for _, c := range []struct {
		token  string
		header []string
		status int
	}{
		{"secret", nil, 401},
		{"secret", []string{"Authorization: Bearer secret"}, 204},
		{"secret", []string{"Authorization: Bearer wrong"}, 401},
		{"secret", []string{"Authorization: Bearer secret "}, 401},
		{"secret", []string{"Authorization: Bearer "}, 401},
		{"secret", []string{"Authorization: secret"}, 401},
		{"secret", []string{"Authorization: Basic secret"}, 401},
		{"secret", []string{"Authorization: Bearer secret", "Origin: https://evil.example"}, 403},
		{"secret", []string{"Authorization: Bearer secret", "Origin: null"}, 403},
		{"", []string{"Authorization: Bearer "}, 401},
		{"", nil, 401},
	} {
		f := &fixture{T: t, handler: api.Authenticate(c.token, next)}
		w := f.do("GET", "/api/v1/servers", "", c.header...)
		if w.Code != c.status {
			t.Errorf("token %q, %q: %d, want %d", c.token, c.header, w.Code, c.status)
		}
		if (w.Code == 401) != (w.Header().Get("WWW-Authenticate") == "Bearer") {
			t.Errorf("%d with challenge %q", w.Code, w.Header().Get("WWW-Authenticate"))
		}
	}
}
