package xds_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/xds"
)

func TestLiveEventsArriveWhenTheyAreSent(t *testing.T) {
	t.Parallel()
	received := make(chan struct{})
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, event := range []string{"one", "two"} {
			_, _ = io.WriteString(w, "data: "+event+"\n\n")
			_ = http.NewResponseController(w).Flush()
			// The next event, and the end, only after this one has arrived.
			select {
			case <-received:
			case <-r.Context().Done():
				return
			}
		}
	}))
	t.Cleanup(up.Close)
	g := startGateway(t, xds.Config{}, server("weather", 3, up.URL))
	for _, route := range []string{"plain:weather@3", "inspect:weather@3"} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+"/weather/mcp", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Test-Route", route)
		res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body := bufio.NewReader(res.Body)
		for _, want := range []string{"data: one\n", "data: two\n"} {
			line, err := body.ReadString('\n')
			if err != nil || line != want {
				t.Errorf("%s: %q, %v; want %q", route, line, err, want)
			}
			if _, err := body.ReadString('\n'); err != nil {
				t.Error(err)
			}
			received <- struct{}{}
		}
		if err := res.Body.Close(); err != nil {
			t.Error(err)
		}
		cancel()
	}
}

func TestLiveSilentUpstreamIsAGatewayTimeout(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		// Only then does the server notice that the other side is gone.
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	t.Cleanup(up.Close)
	s := server("silent", 1, up.URL)
	s.Upstream.IdleTimeout = registry.Duration(time.Second)
	g := startGateway(t, xds.Config{}, s)
	// A GET has nothing after its headers that would set the timer anew.
	for _, method := range []string{"POST", "GET"} {
		r := g.do(method, "/silent/mcp", "x-test-route: plain:silent@1")
		if r.StatusCode != http.StatusGatewayTimeout || !strings.Contains(r.body, "MCP server timeout") || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %v %s", method, r.StatusCode, r.Header, r.body)
		}
	}
}

func TestLiveAuthorizationServiceThatIsGoneRefuses(t *testing.T) {
	t.Parallel()
	g := startTwo(t)
	g.stopServices()
	r := g.do("POST", "/weather/mcp", plain)
	if r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(r.body, "authorization service unavailable") || r.Header.Get("Retry-After") != "1" {
		t.Errorf("%d %v %s", r.StatusCode, r.Header, r.body)
	}
}

// The authorization service says how long a reply may take, and nobody else:
// what it says is kept from the upstream, and what a client says from it.
func TestLiveReplyEndsWhenTheAuthorizationServiceSaid(t *testing.T) {
	t.Parallel()
	const header = "x-envoy-upstream-rq-timeout-ms"
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v := r.Header.Get(header); v != "" {
			t.Errorf("the upstream got %s: %s", header, v)
		}
		if r.Header.Get("X-Test-Silent") == "" {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: one\n\n")
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	}))
	t.Cleanup(up.Close)
	g := startGateway(t, xds.Config{}, server("weather", 3, up.URL))
	read := func(method string, limit time.Duration, headers ...string) (status int, text string, err error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, method, g.url+"/weather/mcp", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			req.Header.Set(name, value)
		}
		res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close() //nolint:errcheck // a test's
		b, err := io.ReadAll(res.Body)
		return res.StatusCode, string(b), err
	}
	for _, route := range []string{plain, inspect} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			status, text, err := read(method, 20*time.Second, route, "x-test-set: "+header+"=300")
			if status != http.StatusOK || text != "data: one\n\n" || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s by %s: %d %q %v, want a stream that is cut", method, route, status, text, err)
			}
		}
		status, text, err := read(http.MethodPost, 20*time.Second, route, "x-test-silent: yes", "x-test-set: "+header+"=300")
		if status != http.StatusGatewayTimeout || err != nil || !strings.Contains(text, "MCP server timeout") {
			t.Errorf("a silent upstream by %s: %d %q %v", route, status, text, err)
		}
		// A client's own bound is nothing to Envoy: the stream is still there when
		// the client gives up.
		status, text, err = read(http.MethodGet, time.Second, route, header+": 100")
		if status != http.StatusOK || text != "data: one\n\n" || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a client's bound by %s: %d %q %v", route, status, text, err)
		}
	}
	for _, name := range []string{"x-envoy-retry-on", "x-envoy-upstream-rq-timeout-msx", "x-envoy-upstream-rq-per-try-timeout-ms", ":path", "host"} {
		if r := g.do("POST", "/weather/mcp", plain, "x-test-set: "+name+"=1"); r.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("the authorization service could set %s: %d %s", name, r.StatusCode, r.body)
		}
	}
}
