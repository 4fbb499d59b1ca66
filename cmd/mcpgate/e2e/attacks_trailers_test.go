package e2e_test

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
)

// TestTrailersDoNotReachAnHTTP2Upstream is F8 where it matters: over HTTP/2 to
// the upstream a trailer would arrive, and authz has never seen one.
func TestTrailersDoNotReachAnHTTP2Upstream(t *testing.T) {
	t.Parallel()
	type arrival struct {
		proto, subject, body string
		trailer              http.Header
	}
	arrived := make(chan arrival, 8)
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		arrived <- arrival{r.Proto, r.Header.Get("X-Mcpgate-Subject"), string(body), r.Trailer}
		w.Header().Set("Content-Type", "application/json")
		if _, err := io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`); err != nil {
			t.Error(err)
		}
	}))
	up.EnableHTTP2 = true
	up.StartTLS()
	t.Cleanup(up.Close)
	g := start(t, unhurried)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	g.write(ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: up.Certificate().Raw})))
	g.apply(everything + "---\nkind: Server\nname: a\nupstream: {url: " + up.URL + "/mcp, tls: {caFile: " + ca + "}}\n")

	trailers := []field{{"x-mcpgate-subject", "eve"}, {"authorization", "Bearer eve"}, {"content-type", "text/plain"}, {"x-note", "1"}}
	for name, change := range map[string]func(*frames){
		"trailers":             func(f *frames) { f.trailers = trailers },
		"trailers, one by one": func(f *frames) { f.trailers, f.frame = trailers, 1 },
		"trailers, announced": func(f *frames) {
			f.trailers = trailers
			f.fields = append(f.fields, field{"trailer", "x-mcpgate-subject"})
		},
		"no trailers, to tell it is whole": func(*frames) {},
	} {
		f := post2("/a/mcp", "-:authority", ":authority: "+g.address)
		change(&f)
		f = withToken(f, g.token("alice", "all"))
		f.data = goodCall
		if o := exchange2(g.address, f); o.status != http.StatusOK {
			t.Fatalf("%s: %+v\n%s", name, o, g.logs)
		}
		got := <-arrived
		if got.proto != "HTTP/2.0" || got.subject != "alice" || got.body != goodCall {
			t.Errorf("%s: the upstream got %+v", name, got)
		}
		for k, v := range got.trailer {
			if len(v) > 0 {
				t.Errorf("%s: the upstream got the trailer %s: %q", name, k, v)
			}
		}
	}
}

// withToken fills in the token.
func withToken(f frames, token string) frames {
	r := row{}
	for i := range f.fields {
		f.fields[i].value = r.fill(f.fields[i].value, "trailers", token)
	}
	return f
}
