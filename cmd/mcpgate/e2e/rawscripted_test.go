package e2e_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mcpgate/mcpgate/envoy"
	"github.com/mcpgate/mcpgate/envoy/envoytest"
	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/xds"
	"github.com/mcpgate/mcpgate/xds/ads"
)

// scripted is the real Envoy with the real configuration over the real xDS
// server, and a decision service that answers as a script says: for faults
// that the real one cannot have.
type scripted struct {
	testing.TB
	address  string
	dir      string
	cfg      xds.Config
	upstream *recorder
	envoy    *envoytest.Envoy
	authz    *scriptedAuthz

	ads      *ads.Server
	stopADS  func()
	snapshot registry.Snapshot
}

// tamper changes what the xDS server sends, on its way to Envoy.
type tamper func(*discoveryv3.DeltaDiscoveryResponse)

// scriptedTimeout is what Envoy waits for a decision.
const scriptedTimeout = 2 * time.Second

// startScripted serves the servers, name@generation each, on one recorder.
func startScripted(t testing.TB, change tamper, servers ...*registry.Server) *scripted {
	t.Helper()
	return startScriptedOn(t, 2, change, servers...)
}

// startScriptedOn starts an Envoy with so many workers. With one, what a
// request has seen holds for the next: an acknowledged change reaches each
// worker in its own time.
func startScriptedOn(t testing.TB, workers int, change tamper, servers ...*registry.Server) *scripted {
	t.Helper()
	dir := envoytest.Dir(t)
	s := &scripted{
		TB: t, dir: dir, address: fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t)), upstream: record(t),
		authz:    &scriptedAuthz{scripts: map[string]script{"": good}, asked: map[string][]*authv3.CheckRequest{}},
		snapshot: registry.Snapshot{Revision: 1},
	}
	s.cfg = xds.Config{
		ExternalURL: "http://gw.test", Listen: s.address, Hosts: []string{"gw.test"}, AllowedOrigins: []string{pageOrigin}, AuthzTimeout: scriptedTimeout,
	}
	for _, srv := range servers {
		if srv.Upstream.URL == "" {
			srv.Upstream.URL = s.upstream.url("/up/" + srv.Name)
		}
		s.snapshot.Resources = append(s.snapshot.Resources, srv)
	}
	web := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })}
	serveOn(t, filepath.Join(dir, "web.sock"), web.Serve, func() { _ = web.Close() })
	s.serveAuthz()
	s.serveADS(change)
	bootstrap, err := envoy.Bootstrap{XDSAddress: "unix:xds.sock", AuthzAddress: "unix:authz.sock", WebAddress: "unix:web.sock"}.YAML()
	if err != nil {
		t.Fatal(err)
	}
	s.envoy = envoytest.Start(t, bootstrap, envoytest.WithDir(dir), envoytest.WithLogLevel("warning"), envoytest.WithConcurrency(workers))
	s.eventually("the gateway serves", func() bool { return s.do("GET", "/healthz").status == http.StatusOK })
	return s
}

// mcpServer is a server of the scripted gateway.
func mcpServer(name string, generation int64) *registry.Server {
	return &registry.Server{Name: name, Metadata: registry.Metadata{Generation: generation, Revision: generation}}
}

// serveOn runs a server on a Unix socket, which it puts in the place of one
// that is there, until stop or the test's end.
func serveOn(t testing.TB, path string, serve func(net.Listener) error, stop func()) (stopNow func()) {
	t.Helper()
	temp := path + ".new"
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", temp)
	if err != nil {
		t.Fatal(err)
	}
	if ul, ok := l.(*net.UnixListener); ok {
		ul.SetUnlinkOnClose(false)
	}
	if err := os.Rename(temp, path); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = serve(l)
	}()
	var once sync.Once
	stopNow = func() {
		once.Do(func() {
			stop()
			_ = l.Close()
			<-done
		})
	}
	t.Cleanup(stopNow)
	return stopNow
}

// serveADS starts an xDS server over the present snapshot.
func (s *scripted) serveADS(change tamper) {
	s.Helper()
	server, err := ads.New(ads.Config{XDS: s.cfg, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.Fatal(err)
	}
	if err := server.Load(s.snapshot); err != nil {
		s.Fatal(err)
	}
	g := grpc.NewServer(ads.ServerOptions()...)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, tampering{Server: server, change: change})
	s.ads = server
	s.stopADS = serveOn(s.TB, filepath.Join(s.dir, "xds.sock"), g.Serve, func() {
		server.Close()
		g.Stop()
	})
}

// apply sends a change and waits until Envoy has taken it.
func (s *scripted) apply(changes ...registry.Change) ads.Report {
	s.Helper()
	s.snapshot.Revision++
	s.ads.Apply(registry.Event{Revision: s.snapshot.Revision, Changes: changes})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	report, err := s.ads.Wait(ctx, s.snapshot.Revision)
	if err != nil {
		s.Fatal(err)
	}
	return report
}

// put is a change that adds or replaces a server, drop one that deletes it.
func (s *scripted) put(srv *registry.Server) registry.Change {
	srv.Metadata.Revision = s.snapshot.Revision + 1
	if srv.Upstream.URL == "" {
		srv.Upstream.URL = s.upstream.url("/up/" + srv.Name)
	}
	return registry.Change{Key: srv.Key(), Resource: srv}
}

func drop(name string) registry.Change {
	return registry.Change{Key: registry.Key{Kind: registry.KindServer, Name: name}}
}

// eventually polls for what a process does in its own time.
func (s *scripted) eventually(what string, cond func() bool) {
	s.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			s.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// do sends a request whose row is its script.
func (s *scripted) do(verb, path string, edits ...string) outcome {
	body := ""
	if verb == http.MethodPost {
		body = goodCall
	}
	r := row{http1: request1(verb, path, edits...), body: body}
	return exchange1(s.address, r.fill(r.http1, "none", "token")+body, 1)[0]
}

// tampering is the xDS server with a hand on its line.
type tampering struct {
	*ads.Server
	change tamper
}

// DeltaAggregatedResources implements the service.
func (t tampering) DeltaAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	if t.change == nil {
		return t.Server.DeltaAggregatedResources(stream)
	}
	return t.Server.DeltaAggregatedResources(tamperedStream{stream, t.change})
}

type tamperedStream struct {
	discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	change tamper
}

// Send implements the stream.
func (s tamperedStream) Send(r *discoveryv3.DeltaDiscoveryResponse) error {
	r = proto.CloneOf(r)
	s.change(r)
	return s.AggregatedDiscoveryService_DeltaAggregatedResourcesServer.Send(r)
}

// script is the answer to a check: the bytes of a message, or an error.
type script func(ctx context.Context, req *authv3.CheckRequest) ([]byte, error)

// scriptedAuthz answers by the script that the header x-script names.
type scriptedAuthz struct {
	stop func()

	mu      sync.Mutex
	scripts map[string]script
	// asked are the requests by row.
	asked map[string][]*authv3.CheckRequest
}

func (a *scriptedAuthz) set(name string, s script) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.scripts[name] = s
}

// of returns what was asked about a row.
func (a *scriptedAuthz) of(row string) []*authv3.CheckRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[row]
}

// serveAuthz puts the service on its socket.
func (s *scripted) serveAuthz() {
	s.Helper()
	g := grpc.NewServer(grpc.ForceServerCodecV2(bytesCodec{}), grpc.UnknownServiceHandler(s.authz.handle), grpc.MaxRecvMsgSize(8<<20))
	s.authz.stop = serveOn(s.TB, filepath.Join(s.dir, "authz.sock"), g.Serve, g.Stop)
}

func (a *scriptedAuthz) handle(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	if method != authv3.Authorization_Check_FullMethodName {
		return status.Error(codes.Unimplemented, method)
	}
	var wire []byte
	if err := stream.RecvMsg(&wire); err != nil {
		return err
	}
	var req authv3.CheckRequest
	if err := proto.Unmarshal(wire, &req); err != nil {
		return err
	}
	a.mu.Lock()
	name := strings.Join(headersOf(&req, "x-script"), ",")
	row := strings.Join(headersOf(&req, caseHeader), ",")
	a.asked[row] = append(a.asked[row], &req)
	answer, ok := a.scripts[name]
	a.mu.Unlock()
	if !ok {
		return status.Errorf(codes.Internal, "no script %q", name)
	}
	out, err := answer(stream.Context(), &req)
	if err != nil {
		return err
	}
	return stream.SendMsg(&out)
}

// headersOf are the raw values of a header in a check.
func headersOf(req *authv3.CheckRequest, name string) []string {
	var out []string
	for _, h := range req.GetAttributes().GetRequest().GetHttp().GetHeaderMap().GetHeaders() {
		if h.GetKey() == name {
			out = append(out, string(h.GetRawValue()))
		}
	}
	return out
}

// bytesCodec carries messages as the bytes they are.
type bytesCodec struct{}

// Marshal implements encoding.CodecV2.
func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("marshal %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(*b)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("unmarshal %T", v)
	}
	*b = data.Materialize()
	return nil
}

// Name implements encoding.CodecV2.
func (bytesCodec) Name() string { return "proto" }

// good is the right answer, for the server and generation of the route.
func good(_ context.Context, req *authv3.CheckRequest) ([]byte, error) {
	return proto.Marshal(permit(routeOf(req)))
}

// routeOf is the right value of the metadata `route`.
func routeOf(req *authv3.CheckRequest) string {
	f := req.GetAttributes().GetRouteMetadataContext().GetFilterMetadata()[xds.MetadataNamespace].GetFields()
	return "plain:" + xds.RouteKey(f["server"].GetStringValue(), int64(f["generation"].GetNumberValue()))
}

// permit is an allow that leads to the route.
func permit(route string, set ...*corev3.HeaderValueOption) *authv3.CheckResponse {
	return &authv3.CheckResponse{
		Status:          &rpcstatus.Status{},
		HttpResponse:    &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{Headers: append(set, overwrite("content-type", "application/json"))}},
		DynamicMetadata: &structpb.Struct{Fields: map[string]*structpb.Value{"route": structpb.NewStringValue(route)}},
	}
}

// overwrite is a header that replaces all of its name.
func overwrite(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

// always answers everything with one message.
func always(m *authv3.CheckResponse) script {
	return func(context.Context, *authv3.CheckRequest) ([]byte, error) { return proto.Marshal(m) }
}

// permitting is the right answer with a change.
func permitting(change func(*authv3.CheckResponse)) script {
	return func(_ context.Context, req *authv3.CheckRequest) ([]byte, error) {
		m := permit(routeOf(req))
		change(m)
		return proto.Marshal(m)
	}
}
