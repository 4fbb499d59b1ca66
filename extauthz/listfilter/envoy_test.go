package listfilter

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mcpgate/mcpgate/envoy/envoytest"
)

// bootstrap has the routes of a server as package xds makes them, for an
// upstream that is reached over HTTP/1.1 and HTTP/2. Verbs:
// port of the listener, gRPC socket (twice), port of the upstream (twice).
const bootstrap = `
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: %d}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: mcp
          http_filters:
          - name: envoy.filters.http.ext_authz
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
              transport_api_version: V3
              grpc_service: {envoy_grpc: {cluster_name: authz}, timeout: 5s}
              with_request_body: {max_request_bytes: 16384, pack_as_bytes: true}
              clear_route_cache: true
              decoder_header_mutation_rules: {disallow_system: true, disallow_is_error: true}
          - name: envoy.filters.http.ext_proc
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
              grpc_service: {envoy_grpc: {cluster_name: proc}, timeout: 0s}
              status_on_error: {code: BadGateway}
              disable_clear_route_cache: true
              processing_mode: {request_header_mode: SKIP, response_header_mode: SKIP, request_body_mode: NONE, response_body_mode: NONE, request_trailer_mode: SKIP, response_trailer_mode: SKIP}
              metadata_options: {forwarding_namespaces: {untyped: [envoy.filters.http.ext_authz]}}
              mutation_rules: {disallow_all: true, allow_expression: {regex: "^(mcp-session-id|content-type)$"}}
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match:
                  path: /h1
                  dynamic_metadata: [{filter: envoy.filters.http.ext_authz, path: [{key: route}], value: {string_match: {exact: "inspect:weather@3"}}}]
                route: {cluster: h1, timeout: 0s, idle_timeout: 60s}
                typed_per_filter_config: &inspect
                  envoy.filters.http.ext_proc:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute
                    overrides:
                      processing_mode: {request_header_mode: SKIP, response_header_mode: SEND, request_body_mode: NONE, response_body_mode: FULL_DUPLEX_STREAMED, request_trailer_mode: SKIP, response_trailer_mode: SEND}
              - match:
                  path: /h2
                  dynamic_metadata: [{filter: envoy.filters.http.ext_authz, path: [{key: route}], value: {string_match: {exact: "inspect:weather@3"}}}]
                route: {cluster: h2, timeout: 0s, idle_timeout: 60s}
                typed_per_filter_config: *inspect
              - match: {prefix: /}
                route: {cluster: no-decision}
  clusters:
  - name: no-decision
    load_assignment: {cluster_name: no-decision}
  - name: authz
    typed_extension_protocol_options: &http2
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {connection_keepalive: {interval: 1s, timeout: 1s}}}
    load_assignment: {cluster_name: authz, endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: %[2]s}}}}]}]}
  - name: proc
    typed_extension_protocol_options: *http2
    load_assignment: {cluster_name: proc, endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: %[2]s}}}}]}]}
  - name: h1
    load_assignment: {cluster_name: h1, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %[3]d}}}}]}]}
  - name: h2
    typed_extension_protocol_options: *http2
    load_assignment: {cluster_name: h2, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %[3]d}}}}]}]}
`

// allowAll is an ext_authz that allows every request with the decision that the
// header x-decision changes, as about does.
type allowAll struct{}

func (allowAll) Check(_ context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	fields := about(strings.Split(r.GetAttributes().GetRequest().GetHttp().GetHeaders()["x-decision"], "|")...)
	return &authv3.CheckResponse{
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
			Headers: []*corev3.HeaderValueOption{{
				Header:       &corev3.HeaderValue{Key: "x-mcpgate-decided", Value: "1"},
				AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
			}},
			HeadersToRemove: []string{"accept-encoding"},
		}},
		DynamicMetadata: &structpb.Struct{Fields: fields.GetFilterMetadata()[namespace].GetFields()},
	}, nil
}

// upstreams are the replies of the upstream by the name of the case.
type upstreams map[string]http.HandlerFunc

func (u upstreams) ServeHTTP(w http.ResponseWriter, r *http.Request) { u[r.Header.Get("x-case")](w, r) }

// gateway starts an Envoy with the filter, in front of the upstream, and returns
// its URL and the Envoy.
func gateway(t *testing.T, s *Server, upstream http.Handler) (string, *envoytest.Envoy) {
	t.Helper()
	dir := envoytest.Dir(t)
	socket := filepath.Join(dir, "g.sock")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	s.Register(g)
	authv3.RegisterAuthorizationServer(g, allowAll{})
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})

	up := httptest.NewUnstartedServer(upstream)
	up.Config.Protocols = new(http.Protocols)
	up.Config.Protocols.SetHTTP1(true)
	up.Config.Protocols.SetUnencryptedHTTP2(true)
	up.Start()
	t.Cleanup(up.Close)
	_, upstreamPort, err := net.SplitHostPort(up.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}

	port := envoytest.FreePort(t)
	config := strings.ReplaceAll(strings.ReplaceAll(strings.Replace(bootstrap, "%d", fmt.Sprint(port), 1), "%[2]s", socket), "%[3]d", upstreamPort)
	e := envoytest.Start(t, []byte(config), envoytest.WithDir(dir))
	address := net.JoinHostPort("127.0.0.1", fmt.Sprint(port))
	e.WaitListener(address)
	return "http://" + address, e
}

// reply returns a handler that writes one reply in pieces.
func respond(status int, contentType string, pieces ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.Header().Set("Mcp-Session-Id", "upstream-secret")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(status)
		for _, p := range pieces {
			if _, err := io.WriteString(w, p); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
		}
	}
}

// TestThroughEnvoy runs the replies through a real Envoy.
func TestThroughEnvoy(t *testing.T) {
	t.Parallel()
	const (
		asJSON     = "application/json"
		asEvents   = "text/event-stream"
		resume     = "inspect=resume|method=|id="
		initialize = "inspect=session|method=initialize"
	)
	// Envoy answers for an upstream that is gone: 503 until a mapper makes it 502.
	const anyGatewayError = 0
	big := toolList(8300)
	cases := map[string]struct {
		upstream http.HandlerFunc
		decision string
		status   int
		session  string
		body     func(string) bool
	}{
		"JSON":           {respond(200, asJSON, listed), "", 200, "", is(allowed)},
		"JSON in pieces": {respond(200, asJSON, listed[:20], listed[20:40], listed[40:]), "", 200, "", is(allowed)},
		"all is seen":    {respond(200, asJSON, listed), "scopes=weather:all", 200, "", is(listed)},
		"JSON of 5 MB": {respond(200, asJSON, big), "", 200, "", func(b string) bool {
			return strings.Count(b, `"name":"seen_`) == 4150 && !strings.Contains(b, "hidden")
		}},
		"JSON and trailers": {withTrailer(respond(200, asJSON, listed)), "", 200, "", is(allowed)},
		"JSON with a length": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(listed)))
			respond(200, asJSON, listed)(w, r)
		}, "", 200, "", is(allowed)},
		"events":                {respond(200, asEvents, "id: 1\r\ndata: \r\n\r\ndata: "+listed, "\r\n\r\n"), "", 200, "", is("id: 1\ndata: \n\ndata: " + allowed + "\n\n")},
		"events and trailers":   {withTrailer(respond(200, asEvents, "data: "+listed+"\n\n")), "", 200, "", is("data: " + allowed + "\n\n")},
		"replay":                {respond(200, asEvents, "data: "+listed+"\n\n"), resume, 200, "", is("data: " + allowed + "\n\n")},
		"initialize":            {respond(200, asJSON, "{}"), initialize, 200, "bound.corp.alice.agent.weather", is("{}")},
		"initialize, events":    {respond(200, asEvents, "data: {}\n\n"), initialize, 200, "bound.corp.alice.agent.weather", is("data: {}\n\n")},
		"initialize, no body":   {respond(204, ""), initialize, 204, "bound.corp.alice.agent.weather", is("")},
		"accepted":              {respond(202, ""), "", 202, "", is("")},
		"accepted with a body":  {respond(202, "", "hidden"), "", 202, "", is("")},
		"malformed":             {respond(200, asJSON, listed[1:]), "", 502, "", is(unusable("1"))},
		"folded":                {respond(200, asJSON, strings.Replace(listed, "tools", "Tools", 1)), "", 502, "", is(unusable("1"))},
		"no type":               {respond(200, "text/html", listed), "", 502, "", is(unusable("1"))},
		"upstream's 401":        {respond(401, "text/plain", "hidden"), "", 502, "", is(unusable("1"))},
		"404 as text":           {respond(404, "text/plain", "hidden"), "", 404, "", is(failure("1", -32001, "Not found."))},
		"404 without a body":    {respond(404, ""), "", 404, "", is(failure("1", -32001, "Not found."))},
		"503 as text":           {withTrailer(respond(503, "text/plain", "hidden")), "", 503, "", is(unanswered("1"))},
		"no decision":           {respond(200, asJSON, listed), "subject=", 500, "", is(unanswered("1"))},
		"generation not there":  {respond(200, asJSON, listed), "route=inspect:weather@2", 503, "", is("no healthy upstream")},
		"upstream gone in JSON": {broken(respond(200, asJSON, listed[:50])), "", anyGatewayError, "", func(b string) bool { return !strings.Contains(b, "get") }},
	}
	handlers := upstreams{}
	for name, tc := range cases {
		handlers[name] = tc.upstream
	}
	next, left := make(chan string), make(chan struct{}, 1)
	handlers["one by one"] = func(w http.ResponseWriter, r *http.Request) {
		respond(200, asEvents)(w, r)
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case event := <-next:
				if _, err := io.WriteString(w, event); err != nil {
					return
				}
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				left <- struct{}{}
				return
			}
		}
	}
	// A stream that is cut before Envoy sent its headers is a 502: the bad event
	// waits until the client has read the good one.
	handlers["cut"] = func(w http.ResponseWriter, r *http.Request) {
		respond(200, asEvents, "data: "+listed+"\n\n")(w, r)
		select {
		case <-next:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "data: ["+listed+"]\n\ndata: "+listed+"\n\n")
	}

	url, e := gateway(t, newServer(t, Config{}), handlers)
	for _, path := range []string{"/h1", "/h2"} {
		for name, tc := range cases {
			t.Run(name+path, func(t *testing.T) {
				call(t, url+path, name, tc.decision, func(res *http.Response) {
					body, err := io.ReadAll(res.Body)
					right := res.StatusCode == tc.status || tc.status == anyGatewayError && (res.StatusCode == 502 || res.StatusCode == 503)
					if err != nil || !right || !tc.body(string(body)) || res.Header.Get("Mcp-Session-Id") != tc.session {
						t.Errorf("got %d, %v, %.300q, %v", res.StatusCode, res.Header, body, err)
					}
					if ct := res.Header.Get("Content-Type"); strings.HasPrefix(string(body), `{"jsonrpc"`) && ct != asJSON {
						t.Errorf("content type %q", ct)
					}
					if name == "503 as text" && res.Header.Get("Retry-After") != "7" {
						t.Errorf("Retry-After is lost: %v", res.Header)
					}
				})
			})
		}
		t.Run("one by one"+path, func(t *testing.T) {
			call(t, url+path, "one by one", "", func(res *http.Response) {
				lines := bufio.NewReader(res.Body)
				for range 3 {
					next <- "data: " + listed + "\n\n"
					if line, err := lines.ReadString('\n'); err != nil || line != "data: "+allowed+"\n" {
						t.Fatalf("got %q, %v", line, err)
					}
					if _, err := lines.ReadString('\n'); err != nil {
						t.Fatal(err)
					}
				}
				// The client leaves in the middle; the upstream notices.
				if err := res.Body.Close(); err != nil {
					t.Error(err)
				}
				<-left
			})
		})
		t.Run("cut"+path, func(t *testing.T) {
			call(t, url+path, "cut", "", func(res *http.Response) {
				first := make([]byte, len("data: "+allowed+"\n\n"))
				if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != "data: "+allowed+"\n\n" {
					t.Fatalf("got %d, %q, %v", res.StatusCode, first, err)
				}
				next <- ""
				if body, err := io.ReadAll(res.Body); err == nil || len(body) > 0 {
					t.Errorf("then %q, %v", body, err)
				}
			})
		})
	}
	// Nobody waits for the other to end a stream whose reply is complete; the
	// two that were cut count as failed. All cases but one reach the filter, and
	// one by one does too.
	e.WaitCounter("http.mcp.ext_proc.streams_closed", int64(2*len(cases)))
	if failed := e.Counter("http.mcp.ext_proc.streams_failed"); failed != 2 {
		t.Errorf("%d failed streams", failed)
	}
}

// TestStuckUpstreamThroughEnvoy: Envoy itself would wait for ever.
func TestStuckUpstreamThroughEnvoy(t *testing.T) {
	t.Parallel()
	stuck := func(w http.ResponseWriter, r *http.Request) {
		respond(200, "application/json", listed)(w, r)
		<-r.Context().Done()
	}
	url, _ := gateway(t, newServer(t, Config{Deadline: 300 * time.Millisecond}), upstreams{"stuck": stuck})
	for _, path := range []string{"/h1", "/h2"} {
		call(t, url+path, "stuck", "", func(res *http.Response) {
			if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 502 || string(body) != unusable("1") {
				t.Errorf("%s: got %d, %q, %v", path, res.StatusCode, body, err)
			}
		})
	}
}

// call sends one request for the reply of that name and passes what came back
// to read.
func call(t *testing.T, url, name, decision string, read func(*http.Response)) {
	t.Helper()
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Case", name)
	req.Header.Set("X-Decision", decision)
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	read(res)
}

func is(want string) func(string) bool { return func(got string) bool { return got == want } }

// withTrailer makes a reply end with a trailer.
func withTrailer(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		next(w, r)
		w.Header().Set(http.TrailerPrefix+"X-Trailer", "1")
	}
}

// broken makes an upstream close the connection in the middle of a reply.
func broken(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		next(w, r)
		panic(http.ErrAbortHandler)
	}
}
