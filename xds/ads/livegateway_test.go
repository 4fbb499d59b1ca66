package ads

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mcpgate/mcpgate/envoy"
	"github.com/mcpgate/mcpgate/envoy/envoytest"
	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/xds"
)

// live is a real Envoy that gets everything from a Server.
type live struct {
	t     testing.TB
	cfg   xds.Config
	url   string
	envoy *envoytest.Envoy
	http  *http.Client
	// xds is the running discovery service.
	xds *Server
	// upstream answers with its request's path.
	upstream string
	stop     func()
	// sent counts responses of the discovery service.
	sent atomic.Int64
}

// startLive runs the parts and waits until Envoy has everything. The change is
// made to the builders of every Server started.
func startLive(t testing.TB, cfg xds.Config, change func(*builders), list ...*registry.Server) *live {
	t.Helper()
	port := envoytest.FreePort(t)
	g := &live{t: t, cfg: cfg, url: fmt.Sprintf("http://127.0.0.1:%d", port)}
	g.cfg.Listen = "127.0.0.1:" + strconv.Itoa(port)
	g.cfg.ExternalURL = g.url
	// A crowded machine is not what is tested here.
	g.cfg.AuthzTimeout = 20 * time.Second
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	g.http = &http.Client{Transport: tr, Timeout: 30 * time.Second}
	t.Cleanup(tr.CloseIdleConnections)

	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.Path)
	}))
	t.Cleanup(up.Close)
	g.upstream = up.URL

	dir := envoytest.Dir(t)
	authz := grpc.NewServer()
	authv3.RegisterAuthorizationServer(authz, yes{})
	unixServe(t, filepath.Join(dir, "authz.sock"), authz.Serve, authz.Stop)
	web := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	unixServe(t, filepath.Join(dir, "web.sock"), web.Serve, func() { _ = web.Close() })

	for _, s := range list {
		g.at(s)
	}
	g.startXDS(filepath.Join(dir, "xds.sock"), change, snapshot(1, list...))
	t.Cleanup(func() { g.stop() })
	b, err := envoy.Bootstrap{
		NodeID: "gw-1", Cluster: "mcpgate",
		XDSAddress: "unix:xds.sock", AuthzAddress: "unix:authz.sock", WebAddress: "unix:web.sock",
	}.YAML()
	if err != nil {
		t.Fatal(err)
	}
	g.envoy = envoytest.Start(t, b, envoytest.WithDir(dir))
	return g
}

// at points the server to the upstream; its URL has only a path until then.
func (g *live) at(s *registry.Server) *registry.Server {
	s.Upstream.URL = g.upstream + s.Upstream.URL
	return s
}

// to is a server of the upstream with the given path.
func (g *live) to(name string, revision int64, path string) *registry.Server {
	s := mcp(name, revision, revision, "")
	s.Upstream.URL = path
	return g.at(s)
}

// startXDS serves a new Server at the socket, as a restarted program would.
func (g *live) startXDS(path string, change func(*builders), snap registry.Snapshot) {
	g.t.Helper()
	b := xdsBuilders(g.cfg)
	if change != nil {
		change(&b)
	}
	s, err := newServer(Config{XDS: g.cfg, Log: quiet()}, b)
	if err != nil {
		g.t.Fatal(err)
	}
	if err := s.Load(snap); err != nil {
		g.t.Fatal(err)
	}
	g.sent.Store(0)
	srv := grpc.NewServer(append(ServerOptions(), grpc.StreamInterceptor(
		func(svc any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			return h(svc, counting{ss, &g.sent})
		}))...)
	s.Register(srv)
	l, err := net.Listen("unix", path)
	if err != nil {
		g.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	g.xds = s
	g.stop = func() {
		s.Close()
		srv.Stop()
		<-done
		g.stop = func() {}
	}
}

// counting counts messages sent.
type counting struct {
	grpc.ServerStream
	n *atomic.Int64
}

func (c counting) SendMsg(m any) error {
	c.n.Add(1)
	return c.ServerStream.SendMsg(m)
}

// connected waits until one Envoy has acknowledged everything.
func (g *live) connected(revision int64) {
	g.t.Helper()
	g.until("envoy has acknowledged everything", func() bool {
		st := g.xds.Status()
		return len(st.Envoys) == 1 && st.Envoys[0].Revision >= revision
	})
}

// until polls, since a process is involved.
func (g *live) until(what string, ok func() bool) {
	g.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.After(envoytest.Deadline)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			g.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// call is one tool call; it returns the status and the path that the upstream
// saw.
func (g *live) call(name string) (int, string) { return g.get(http.MethodPost, "/"+name+"/mcp") }

func (g *live) get(method, path string) (int, string) {
	req, err := http.NewRequestWithContext(context.Background(), method, g.url+path, nil)
	if err != nil {
		return 0, err.Error()
	}
	res, err := g.http.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	body, err := io.ReadAll(res.Body)
	if cerr := res.Body.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(body)
}

func (g *live) want(name string, status int, path string) {
	g.t.Helper()
	code, body := g.call(name)
	if code != status || (status == http.StatusOK && body != path) {
		g.t.Errorf("%s: %d %q, want %d %q", name, code, body, status, path)
	}
}

// published applies the event and waits for Envoy, as the program does.
func (g *live) published(ev registry.Event) Report {
	g.t.Helper()
	g.xds.Apply(ev)
	r, err := g.xds.Wait(soon(g.t), ev.Revision)
	if err != nil || r.Envoys != 1 {
		g.t.Fatalf("wait for revision %d: %+v, %v", ev.Revision, r, err)
	}
	return r
}

// yes allows every request to the server and generation of its route.
type yes struct {
	authv3.UnimplementedAuthorizationServer
}

// Check implements the service.
func (yes) Check(_ context.Context, req *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	f := req.GetAttributes().GetRouteMetadataContext().GetFilterMetadata()[xds.MetadataNamespace].GetFields()
	route := "plain:" + xds.RouteKey(f["server"].GetStringValue(), int64(f["generation"].GetNumberValue()))
	return &authv3.CheckResponse{
		Status:          &rpcstatus.Status{},
		DynamicMetadata: &structpb.Struct{Fields: map[string]*structpb.Value{"route": structpb.NewStringValue(route)}},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
			Headers: []*corev3.HeaderValueOption{{
				Header:       &corev3.HeaderValue{Key: "content-type", Value: "application/json"},
				AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
			}},
		}},
	}, nil
}

func unixServe(t testing.TB, path string, serve func(net.Listener) error, stop func()) {
	t.Helper()
	l, err := net.Listen("unix", path)
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
