package xds_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"sigs.k8s.io/yaml"

	"github.com/mcpgate/mcpgate/envoy"
	"github.com/mcpgate/mcpgate/envoy/envoytest"
	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/xds"
)

// static is a bootstrap that has the resources in it, for what cannot come
// over xDS in a test: the same messages, the scopes as a list in the listener.
func static(t testing.TB, clusters []*clusterv3.Cluster, listeners []*listenerv3.Listener, scopes []*routev3.ScopedRouteConfiguration) *bootstrapv3.Bootstrap {
	t.Helper()
	b := must(envoy.Bootstrap{XDSAddress: "unix:xds.sock", AuthzAddress: "unix:authz.sock", WebAddress: "unix:web.sock"}.Proto())
	for _, l := range listeners {
		l = proto.CloneOf(l)
		filter := l.GetFilterChains()[0].GetFilters()[0]
		var hcm hcmv3.HttpConnectionManager
		if err := filter.GetTypedConfig().UnmarshalTo(&hcm); err != nil {
			t.Fatal(err)
		}
		hcm.GetScopedRoutes().ConfigSpecifier = &hcmv3.ScopedRoutes_ScopedRouteConfigurationsList{
			ScopedRouteConfigurationsList: &hcmv3.ScopedRouteConfigurationsList{ScopedRouteConfigurations: scopes},
		}
		filter.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: must(anypb.New(&hcm))}
		b.StaticResources.Listeners = append(b.StaticResources.Listeners, l)
	}
	b.StaticResources.Clusters = append(b.StaticResources.Clusters, clusters...)
	return b
}

// toYAML is a message as Envoy reads it from a file.
func toYAML(t testing.TB, m proto.Message) []byte {
	t.Helper()
	js, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.JSONToYAML(js)
	if err != nil {
		t.Fatal(err)
	}
	return y
}

// must is for constructors whose error is a bug of the test.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// gateway is a real Envoy with static resources, and everything around it.
type gateway struct {
	t     testing.TB
	url   string
	envoy *envoytest.Envoy
	authz *authz
	// stopServices ends the authorization service and the reply filter.
	stopServices func()
}

// startGateway serves the servers. Their generation must be set.
func startGateway(t testing.TB, cfg xds.Config, servers ...*registry.Server) *gateway {
	t.Helper()
	versions := make([][]*registry.Server, 0, len(servers))
	for _, s := range servers {
		versions = append(versions, []*registry.Server{s})
	}
	return startGatewayVersions(t, cfg, versions)
}

// startGatewayVersions serves several generations of each server.
func startGatewayVersions(t testing.TB, cfg xds.Config, servers [][]*registry.Server) *gateway {
	t.Helper()
	dir := envoytest.Dir(t)
	port := envoytest.FreePort(t)
	g := &gateway{t: t, url: fmt.Sprintf("http://127.0.0.1:%d", port), authz: &authz{}}
	cfg.Listen = "127.0.0.1:" + strconv.Itoa(port)
	if cfg.ExternalURL == "" {
		cfg.ExternalURL = g.url
	}
	cfg.AccessLog = "access.log"

	srv := grpc.NewServer()
	authv3.RegisterAuthorizationServer(srv, g.authz)
	extprocv3.RegisterExternalProcessorServer(srv, passThrough{})
	serveUnix(t, filepath.Join(dir, "authz.sock"), srv.Serve, srv.Stop)
	g.stopServices = srv.Stop
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "web %s", r.URL.Path)
	})}
	serveUnix(t, filepath.Join(dir, "web.sock"), web.Serve, func() { _ = web.Close() })

	var clusters []*clusterv3.Cluster
	var scopes []*routev3.ScopedRouteConfiguration
	for _, s := range servers {
		for _, v := range s {
			clusters = append(clusters, must(xds.Cluster(v, cfg)))
		}
		scopes = append(scopes, must(xds.ServerScope(s, 1, cfg)))
	}
	scopes = append(scopes, must(xds.FixedScopes(1, cfg))...)
	b := static(t, clusters, []*listenerv3.Listener{must(xds.Listener(cfg))}, scopes)
	b.DynamicResources = nil // nobody serves them, and Envoy would wait
	g.envoy = envoytest.Start(t, toYAML(t, b), envoytest.WithDir(dir))
	g.envoy.WaitListener(cfg.Listen)
	return g
}

// serveUnix runs a server on a socket until the test ends.
func serveUnix(t testing.TB, path string, serve func(net.Listener) error, stop func()) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = serve(l)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
}

// reply is an answer and its body.
type reply struct {
	*http.Response
	body string
}

// do sends a request; headers are "name: value" lines.
func (g *gateway) do(method, path string, headers ...string) reply {
	g.t.Helper()
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, g.url+path, body)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		if k == "Host" {
			req.Host = v
		}
		req.Header.Add(k, v)
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		g.t.Fatal(err)
	}
	return reply{res, string(b)}
}

// authz allows what x-test-route names, sets the header that x-test-set names,
// and denies with x-test-deny.
type authz struct {
	authv3.UnimplementedAuthorizationServer
	mu    sync.Mutex
	calls int
}

// Check implements the service.
func (a *authz) Check(_ context.Context, req *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	a.mu.Lock()
	a.calls++
	a.mu.Unlock()
	h := map[string]string{}
	for _, v := range req.GetAttributes().GetRequest().GetHttp().GetHeaderMap().GetHeaders() {
		h[v.GetKey()] = string(v.GetRawValue())
	}
	if deny := h["x-test-deny"]; deny != "" {
		code := must(strconv.Atoi(deny))
		return &authv3.CheckResponse{
			Status: &rpcstatus.Status{Code: int32(codes.PermissionDenied)},
			HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
				Status:  &typev3.HttpStatus{Code: typev3.StatusCode(code)},
				Headers: []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: "www-authenticate", Value: "Bearer"}}},
				Body:    "denied",
			}},
		}, nil
	}
	md, err := structpb.NewStruct(map[string]any{"route": h["x-test-route"]})
	if err != nil {
		return nil, err
	}
	set := []*corev3.HeaderValueOption{{
		Header:       &corev3.HeaderValue{Key: "content-type", Value: "application/json"},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}}
	if name, value, ok := strings.Cut(h["x-test-set"], "="); ok {
		set = append(set, &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: name, Value: value},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		})
	}
	return &authv3.CheckResponse{
		Status:          &rpcstatus.Status{},
		HttpResponse:    &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{Headers: set}},
		DynamicMetadata: md,
	}, nil
}

// count is the number of calls so far.
func (a *authz) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls
}

// passThrough is a reply filter that changes nothing but one header, by which
// a test sees that it was there.
type passThrough struct {
	extprocv3.UnimplementedExternalProcessorServer
}

// Process implements the service.
func (passThrough) Process(stream extprocv3.ExternalProcessor_ProcessServer) error {
	for {
		req, err := stream.Recv()
		if err != nil {
			return nil //nolint:nilerr // the stream is over
		}
		var res *extprocv3.ProcessingResponse
		switch r := req.GetRequest().(type) {
		case *extprocv3.ProcessingRequest_ResponseHeaders:
			res = &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: &extprocv3.HeadersResponse{
				Response: &extprocv3.CommonResponse{HeaderMutation: &extprocv3.HeaderMutation{SetHeaders: []*corev3.HeaderValueOption{{
					Header:       &corev3.HeaderValue{Key: "mcp-session-id", RawValue: []byte("filtered")},
					AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
				}}}},
			}}}
		case *extprocv3.ProcessingRequest_ResponseBody:
			res = &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseBody{ResponseBody: &extprocv3.BodyResponse{
				Response: &extprocv3.CommonResponse{BodyMutation: &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_StreamedResponse{
					StreamedResponse: &extprocv3.StreamedBodyResponse{Body: r.ResponseBody.GetBody(), EndOfStream: r.ResponseBody.GetEndOfStream()},
				}}},
			}}}
		case *extprocv3.ProcessingRequest_ResponseTrailers:
			res = &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseTrailers{ResponseTrailers: &extprocv3.TrailersResponse{}}}
		}
		if err := stream.Send(res); err != nil {
			return err
		}
	}
}

// upstream answers with the status of x-test-status and says what it saw.
func upstream(t testing.TB) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(upstreamHandler))
	t.Cleanup(srv.Close)
	return srv
}

func upstreamHandler(w http.ResponseWriter, r *http.Request) {
	for _, k := range []string{"Set-Cookie", "Location", "Content-Security-Policy", "Server", "X-Powered-By", "WWW-Authenticate", "Mcp-Session-Id", "Alt-Svc", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"} {
		w.Header().Set(k, "upstream")
	}
	w.Header().Set("Retry-After", "7")
	w.Header().Set("Mcp-Protocol-Version", "2025-11-25")
	status := http.StatusOK
	if s := r.Header.Get("X-Test-Status"); s != "" {
		status = must(strconv.Atoi(s))
	}
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "upstream host=%s path=%s", r.Host, r.URL.EscapedPath())
}

// server is a registry resource.
func server(name string, generation int64, url string) *registry.Server {
	return &registry.Server{Name: name, Metadata: registry.Metadata{Generation: generation}, Upstream: registry.Upstream{URL: url}}
}

// tlsFile and tlsConfig wrap the one-of members of TLS messages.
func tlsFile(path string) *corev3.DataSource_Filename {
	return &corev3.DataSource_Filename{Filename: path}
}

func tlsConfig(a *anypb.Any) *corev3.TransportSocket_TypedConfig {
	return &corev3.TransportSocket_TypedConfig{TypedConfig: a}
}
