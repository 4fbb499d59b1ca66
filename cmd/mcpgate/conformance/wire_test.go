package conformance_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// round is a call of a tool, and the tools that a list shows after it.
type round struct {
	tool      string
	arguments map[string]any
	text      string
	tools     []string
}

// rounds are what the clients do: the second needs a scope that the first
// challenge does not ask for.
var rounds = [...]round{
	{"list_notes", nil, "buy milk", []string{"list_notes"}},
	{"add_note", map[string]any{"text": "x"}, "added: x", []string{"add_note", "list_notes"}},
}

// dance is what the clients do on the wire for the rounds: a legacy client
// says that it is initialized, and one may register itself each time.
func dance(server string, legacy, registers bool) []string {
	mcp := "gateway: POST /" + server + "/mcp "
	authorize := []string{
		"gateway: GET /.well-known/oauth-protected-resource/" + server + "/mcp 200",
		"issuer: GET /.well-known/oauth-authorization-server 200",
		"issuer: POST /token 200",
	}
	if registers {
		authorize = slices.Insert(authorize, 2, "issuer: POST /reg 201")
	}
	begin := []string{mcp + "200"}
	if legacy {
		begin = append(begin, mcp+"202")
	}
	return slices.Concat(
		[]string{mcp + "401"}, authorize, begin,
		[]string{mcp + "200", mcp + "200"},
		[]string{mcp + "403"}, authorize,
		[]string{mcp + "200", mcp + "200"},
	)
}

// wire records what a client asks for and what it gets, but for the stream
// that a legacy client opens beside everything else.
type wire struct {
	notes     *notes
	transport *http.Transport
	mu        sync.Mutex
	all       []string
}

func newWire(t testing.TB, n *notes) *wire {
	t.Helper()
	w := &wire{notes: n, transport: &http.Transport{}}
	t.Cleanup(w.transport.CloseIdleConnections)
	return w
}

func (w *wire) client() *http.Client { return &http.Client{Transport: w} }

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := w.transport.RoundTrip(req)
	if err != nil || req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, "/mcp") && !strings.HasPrefix(req.URL.Path, "/.well-known/") {
		return resp, err
	}
	who := "gateway"
	if strings.HasPrefix(req.URL.String(), w.notes.issuer+"/") {
		who = "issuer"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, fmt.Sprintf("%s: %s %s %d", who, req.Method, req.URL.Path, resp.StatusCode))
	return resp, nil
}

// lines are what was recorded so far.
func (w *wire) lines() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}

// String implements fmt.Stringer.
func (w *wire) String() string { return strings.Join(w.lines(), "\n") }
