package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// echo is an upstream that answers every message with its own name, and keeps
// a stream open for whoever GETs.
type echo struct {
	name   string
	events chan string
}

func newEcho(name string) *echo { return &echo{name: name, events: make(chan string)} }

// ServeHTTP implements http.Handler.
func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		flush(w)
		for {
			select {
			case data := <-e.events:
				_, _ = fmt.Fprintf(w, "data: %s\n\n", data)
				flush(w)
			case <-r.Context().Done():
				return
			}
		}
	case http.MethodPost:
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":%q}]}}`, e.name)
	}
}

func flush(w http.ResponseWriter) {
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
}

// notification is a message that an event carries.
func notification(text string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":%q}}`, text)
}

// emit sends a notification on the stream that is open.
func (e *echo) emit(t testing.TB, text string) {
	t.Helper()
	select {
	case e.events <- notification(text):
	case <-time.After(patience):
		t.Fatalf("nobody reads the stream of %s", e.name)
	}
}

// stream is an open stream of a server, read event by event.
type stream struct {
	t    testing.TB
	data chan string
}

// open GETs a server's stream; header lists further headers, "Name: value".
func (g *gateway) open(t testing.TB, server, token string, header ...string) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+"/"+server+"/mcp", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+token)
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := (&http.Client{Transport: g.client.Transport}).Do(req) //nolint:bodyclose // the cleanup closes it
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("stream of %s: %d %s", server, resp.StatusCode, body)
	}
	s := &stream{t: t, data: make(chan string, 64)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(s.data)
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				select {
				case s.data <- data:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = resp.Body.Close()
	})
	return s
}

// next is the data of the next event; false when the stream has ended.
func (s *stream) next() (string, bool) {
	s.t.Helper()
	select {
	case data, ok := <-s.data:
		return data, ok
	case <-time.After(patience):
		s.t.Fatal("no event on the stream")
		return "", false
	}
}

// want checks that the next event carries exactly this notification.
func (s *stream) want(text string) {
	s.t.Helper()
	got, ok := s.next()
	if !ok {
		s.t.Fatalf("the stream ended before %q", text)
	}
	if want := notification(text); got != want {
		s.t.Fatalf("event %q, want %q", got, want)
	}
}

// load is traffic that goes on while something else happens.
type load struct {
	stopped chan struct{}
	done    sync.WaitGroup
	count   atomic.Int64
	mu      sync.Mutex
	// answers counts the answers by status and text.
	answers map[string]int
}

// startLoad calls a tool of the servers without a pause, from as many clients.
func (g *gateway) startLoad(token string, servers ...string) *load {
	g.Helper()
	l := &load{stopped: make(chan struct{}), answers: map[string]int{}}
	for _, server := range servers {
		l.done.Go(func() {
			for {
				select {
				case <-l.stopped:
					return
				default:
				}
				a, err := g.tryPost(server, token, call("get_forecast"))
				key := fmt.Sprintf("%s: %d", server, a.status)
				if err != nil {
					key = fmt.Sprintf("%s: %v", server, err)
				}
				l.count.Add(1)
				l.mu.Lock()
				l.answers[key]++
				l.mu.Unlock()
			}
		})
	}
	return l
}

// more returns when the load has got so many further answers.
func (l *load) more(g *gateway, n int64) {
	g.Helper()
	goal := l.count.Load() + n
	g.eventually("the load goes on", func() bool { return l.count.Load() >= goal })
}

// stop ends the load and checks that every server gave nothing but 200.
func (l *load) stop(t testing.TB, servers ...string) {
	t.Helper()
	close(l.stopped)
	l.done.Wait()
	var got, want []string
	for key, n := range l.answers {
		t.Logf("%s, %d times", key, n)
		got = append(got, key)
	}
	for _, s := range servers {
		want = append(want, s+": 200")
	}
	less := cmp.Transformer("set", func(list []string) map[string]bool {
		set := map[string]bool{}
		for _, s := range list {
			set[s] = true
		}
		return set
	})
	if diff := cmp.Diff(want, got, less); diff != "" {
		t.Errorf("answers under load (-want +got):\n%s", diff)
	}
}

// tryPost is post for goroutines that may not end the test.
func (g *gateway) tryPost(server, token, body string) (answer, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, g.url+"/"+server+"/mcp", strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := g.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b)}, err
}
