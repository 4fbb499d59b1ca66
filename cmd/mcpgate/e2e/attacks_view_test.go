package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/mcpgate/mcpgate/xds"
)

// viewRow is a request and what of it the decision service sees. Every one is
// allowed.
type viewRow struct {
	name  string
	http1 string
	http2 frames
	body  string
	// partial is x-envoy-auth-partial-body of the check; "[false]" when empty.
	partial string
	// headers that authz sees and the upstream gets, in order.
	headers map[string][]string
}

// TestWhatAuthzSees is E2 §1, the path forms of E2 §5, F1, F8 and F12 from
// the side of the decision service: it sees what the upstream gets, whole.
func TestWhatAuthzSees(t *testing.T) {
	t.Parallel()
	s := startScripted(t, nil, mcpServer("a", 3), mcpServer("b", 5))
	for i, r := range viewRows() {
		t.Run(r.name, func(t *testing.T) { s.checkView(t, fmt.Sprintf("view-%d", i), r) })
	}
	for i, f := range pathForms() {
		for version, send := range map[string]func(id string) outcome{
			"HTTP/1.1": func(id string) outcome {
				r := row{http1: post1(f.target), body: goodCall}
				return exchange1(s.address, r.fill(r.http1, id, "t")+goodCall, 1)[0]
			},
			"HTTP/2": func(id string) outcome { return exchange2(s.address, filled(post2(f.target), id, goodCall)) },
		} {
			t.Run(version+" "+f.name, func(t *testing.T) {
				id := fmt.Sprintf("path-%d-%s", i, version)
				o, asked := send(id), s.authz.of(id)
				if f.server == "" {
					if o.status != f.status || len(asked) > 0 || len(s.upstream.of(id)) > 0 {
						t.Errorf("answer %d, want %d; authz was asked %d times, the upstream %d", o.status, f.status, len(asked), len(s.upstream.of(id)))
					}
					return
				}
				if o.status != http.StatusOK || len(asked) != 1 {
					t.Fatalf("answer %d %s; authz was asked %d times", o.status, o.body, len(asked))
				}
				if got, want := asked[0].GetAttributes().GetRequest().GetHttp().GetPath(), "/"+f.server+"/mcp"+f.query; got != want {
					t.Errorf("authz saw the path %q, want %q", got, want)
				}
				checkServer(t, asked[0], f.server)
				if got := s.upstream.of(id); len(got) != 1 || got[0].target != "/up/"+f.server+f.query {
					t.Errorf("the upstream got %+v", got)
				}
			})
		}
	}
}

// checkServer checks that a check is about the server, by the metadata of the
// route alone.
func checkServer(t *testing.T, req *authv3.CheckRequest, server string) {
	t.Helper()
	generation := map[string]float64{"a": 3, "b": 5}[server]
	f := req.GetAttributes().GetRouteMetadataContext().GetFilterMetadata()[xds.MetadataNamespace].GetFields()
	if f["server"].GetStringValue() != server || f["generation"].GetNumberValue() != generation {
		t.Errorf("authz saw the route metadata %v, want %s at %v", f, server, generation)
	}
}

func (s *scripted) checkView(t *testing.T, id string, r viewRow) {
	t.Helper()
	var o outcome
	if r.http1 != "" {
		req := row{http1: r.http1, body: r.body}
		wire := req.fill(r.http1, id, "t")
		if !strings.Contains(wire, "chunked") {
			wire += r.body
		}
		o = exchange1(s.address, wire, 1)[0]
	} else {
		o = exchange2(s.address, filled(r.http2, id, r.body))
	}
	asked, got := s.authz.of(id), s.upstream.of(id)
	if o.status != http.StatusOK || len(asked) != 1 || len(got) != 1 {
		t.Fatalf("answer %d %s %s; authz was asked %d times, the upstream %d", o.status, o.end, o.body, len(asked), len(got))
	}
	h := asked[0].GetAttributes().GetRequest().GetHttp()
	if string(h.GetRawBody()) != r.body || h.GetSize() != int64(len(r.body)) || h.GetBody() != "" {
		t.Errorf("authz saw %d bytes of size %d, want %d", len(h.GetRawBody()), h.GetSize(), len(r.body))
	}
	if got[0].body != r.body {
		t.Errorf("the upstream got a body of %d bytes, want %d", len(got[0].body), len(r.body))
	}
	partial := r.partial
	if partial == "" {
		partial = "[false]"
	}
	if p := fmt.Sprint(headersOf(asked[0], "x-envoy-auth-partial-body")); p != partial {
		t.Errorf("authz saw x-envoy-auth-partial-body %s, want %s", p, partial)
	}
	if len(h.GetHeaders()) > 0 {
		t.Errorf("authz saw joined headers %v", h.GetHeaders())
	}
	if h.GetHost() != "gw.test" {
		t.Errorf("authz saw the host %q", h.GetHost())
	}
	if len(got[0].trailers) > 0 {
		t.Errorf("the upstream got trailers %v", got[0].trailers)
	}
	checkServer(t, asked[0], "a")
	for name, want := range r.headers {
		if v := headersOf(asked[0], name); !slices.Equal(v, want) {
			t.Errorf("authz saw %s %q, want %q", name, v, want)
		}
		if v := got[0].values(name); !slices.Equal(v, want) {
			t.Errorf("the upstream got %s %q, want %q", name, v, want)
		}
	}
}

// filled are frames with the row's own values.
func filled(f frames, id, body string) frames {
	r := row{body: body}
	f.fields = slices.Clone(f.fields)
	for i := range f.fields {
		f.fields[i].value = r.fill(f.fields[i].value, id, "t")
	}
	f.data = body
	return f
}

func viewRows() []viewRow {
	inChunks := post1("/a/mcp", "-Content-Length", "Transfer-Encoding: chunked")
	frame := func(f frames, change func(*frames)) frames {
		change(&f)
		return f
	}
	twice := post1("/a/mcp", "-Authorization", "Authorization: Bearer one", "Authorization: Bearer two", "Mcp-Name: 1", "Mcp-Name: 2", "Cookie: a=1", "Cookie: b=2")
	rows := []viewRow{
		{name: "E2 §1: Content-Length", http1: post1("/a/mcp"), body: goodCall},
		{name: "E2 §1: chunked", http1: inChunks + chunked(goodCall, 3), body: goodCall},
		{name: "E2 §1: chunked, empty", http1: inChunks + "0\r\n\r\n"},
		{name: "E2 §1: Content-Length 0", http1: post1("/a/mcp"), partial: "[]"},
		{name: "E2 §1: no length", http1: post1("/a/mcp", "-Content-Length"), partial: "[]"},
		{name: "E2 §1: GET", http1: request1("GET", "/a/mcp"), partial: "[]"},
		{name: "E2 §1: DELETE with a body", http1: request1("DELETE", "/a/mcp", "Content-Length: {length}"), body: "hello"},
		{name: "F16: partial body of the client's", http1: post1("/a/mcp", "X-Envoy-Auth-Partial-Body: true"), body: goodCall},
		{name: "F16: partial body of the client's, without a body", http1: post1("/a/mcp", "X-Envoy-Auth-Partial-Body: false"), partial: "[]"},
		{name: "E2 §1: HTTP/2", http2: post2("/a/mcp"), body: goodCall},
		{name: "E2 §1: HTTP/2, END_STREAM on the headers", http2: frame(post2("/a/mcp"), func(f *frames) { f.endInHeaders = true }), partial: "[]"},
		{name: "E2 §1: HTTP/2, empty DATA", http2: frame(post2("/a/mcp"), func(f *frames) { f.emptyEnd = true })},
		{name: "F8: HTTP/2, trailers", http2: frame(post2("/a/mcp"), func(f *frames) { f.trailers = []field{{"x-mcpgate-subject", "eve"}} }), body: goodCall},
		{name: "F1: HTTP/2, at the limit", http2: post2("/a/mcp"), body: padded(bodyLimit)},
		{name: "F1: HTTP/2, the last frame reaches the limit", http2: frame(post2("/a/mcp"), func(f *frames) { f.frame = 16383 }), body: padded(bodyLimit)},
		{name: "E2 §4: duplicates", http1: twice, body: goodCall, headers: map[string][]string{
			"authorization": {"Bearer one,Bearer two"}, "mcp-name": {"1", "2"}, "cookie": {"a=1", "b=2"},
		}},
		{name: "E2 §4: empty, blanks, folded", http1: post1("/a/mcp", "X-Empty:", "X-Blank: \t a b ", "X-Fold: a\r\n b"), body: goodCall, headers: map[string][]string{
			"x-empty": {""}, "x-blank": {"a b"}, "x-fold": {"a b"},
		}},
		{name: "F12: bytes that are not UTF-8", http1: post1("/a/mcp", "X-Note: a\xff\xc0b"), body: goodCall, headers: map[string][]string{"x-note": {"a\xff\xc0b"}}},
		{name: "E2 §5: bare LF", http1: post1("/a/mcp", "X-Note: a\nX-More: b"), body: goodCall, headers: map[string][]string{"x-note": {"a"}, "x-more": {"b"}}},
		{name: "E2 §5: bare CR", http1: post1("/a/mcp", "X-Note: a\rb"), body: goodCall, headers: map[string][]string{"x-note": {"ab"}}},
		{name: "E2 §5: TE", http1: post1("/a/mcp", "TE: trailers", "TE: gzip"), body: goodCall, headers: map[string][]string{"te": {"trailers"}}},
		{name: "E2 §5: HTTP/2, host beside authority", http2: post2("/a/mcp", "host: evil.test"), body: goodCall},
		{name: "E2 §5: Host in capitals with a port", http1: post1("/a/mcp", "-Host", "Host: gw.test:8443"), body: goodCall},
	}
	for i := range rows {
		if rows[i].headers == nil {
			rows[i].headers = map[string][]string{}
		}
		for _, name := range []string{"x-mcpgate-subject", "x-forwarded-host", "x-original-url", "forwarded"} {
			rows[i].headers[name] = nil
		}
	}
	return rows
}
