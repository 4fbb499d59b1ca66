package e2e_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"golang.org/x/net/http2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/mcpgate/mcpgate/xds"
)

// editing returns a tamper that changes every resource of one kind.
func editing[M proto.Message](t testing.TB, change func(M)) tamper {
	var kind M
	typeURL := "type.googleapis.com/" + string(kind.ProtoReflect().Descriptor().FullName())
	return func(r *discoveryv3.DeltaDiscoveryResponse) {
		if r.GetTypeUrl() != typeURL {
			return
		}
		for _, res := range r.GetResources() {
			m, err := res.GetResource().UnmarshalNew()
			if err != nil {
				t.Error(err)
				return
			}
			if typed, ok := m.(M); ok {
				change(typed)
			}
			if res.Resource, err = anypb.New(m); err != nil {
				t.Error(err)
			}
		}
	}
}

// rerouting puts a filter before the router that sends a request to the path
// in x-reroute, as no filter of ours does.
const rerouting = `function envoy_on_request(handle)
  local to = handle:headers():get("x-reroute")
  if to then
    handle:headers():replace(":path", to)
    handle:clearRouteCache()
  end
end`

// TestFilterThatReroutesEndsAtTheDeadEnd is F6: a filter after ext_authz that
// changes the route cannot carry a decision, or the lack of one, to a server.
func TestFilterThatReroutesEndsAtTheDeadEnd(t *testing.T) {
	t.Parallel()
	s := startScripted(t, editing(t, func(l *listenerv3.Listener) {
		filter := l.GetFilterChains()[0].GetFilters()[0]
		var hcm hcmv3.HttpConnectionManager
		if err := filter.GetTypedConfig().UnmarshalTo(&hcm); err != nil {
			t.Error(err)
		}
		lua, err := anypb.New(&luav3.Lua{DefaultSourceCode: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: rerouting}}})
		if err != nil {
			t.Error(err)
		}
		hcm.HttpFilters = slices.Insert(hcm.HttpFilters, len(hcm.HttpFilters)-1, &hcmv3.HttpFilter{
			Name: "lua", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: lua},
		})
		packed, err := anypb.New(&hcm)
		if err != nil {
			t.Error(err)
		}
		filter.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: packed}
	}), mcpServer("a", 3), mcpServer("b", 5))

	if o := s.do("POST", "/a/mcp"); o.status != http.StatusOK {
		t.Fatalf("without the filter's help: %+v", o)
	}
	for name, target := range map[string]string{
		"decided for a, sent to b":             "/a/mcp",
		"sent to b from where authz is off":    "/healthz",
		"sent to b from the metadata document": "/.well-known/oauth-protected-resource/a/mcp",
	} {
		o := s.do("POST", target, "X-Reroute: /b/mcp")
		if o.status != http.StatusServiceUnavailable || !strings.Contains(o.body, noDecision) {
			t.Errorf("%s: %+v", name, o)
		}
	}
	if n := s.upstream.count(); n != 1 {
		t.Errorf("the upstream got %d requests, want the first alone: %v", n, s.upstream.rows())
	}
}

// TestServerThatGoesWhileAuthzThinks is E6 §3 row 5: a decision finds nothing
// to be carried out on.
func TestServerThatGoesWhileAuthzThinks(t *testing.T) {
	t.Parallel()
	keepScope := func(r *discoveryv3.DeltaDiscoveryResponse) {
		// The scope of "kept" stays when its cluster goes.
		if strings.HasSuffix(r.GetTypeUrl(), ".ScopedRouteConfiguration") {
			r.RemovedResources = slices.DeleteFunc(r.RemovedResources, func(n string) bool { return n == "kept" })
		}
	}
	s := startScriptedOn(t, 1, keepScope, mcpServer("gone", 3), mcpServer("anew", 3), mcpServer("kept", 3), mcpServer("busy", 3))

	// during sends a request, and changes the registry while it is held.
	during := func(server string, hold func(entered, release chan struct{}), change func()) outcome {
		entered, release := make(chan struct{}), make(chan struct{})
		hold(entered, release)
		answered := make(chan outcome, 1)
		go func() { answered <- s.do("POST", "/"+server+"/mcp", "X-Script: "+server) }()
		<-entered
		change()
		close(release)
		return <-answered
	}
	inAuthz := func(server string) func(entered, release chan struct{}) {
		return func(entered, release chan struct{}) {
			s.authz.set(server, func(ctx context.Context, req *authv3.CheckRequest) ([]byte, error) {
				close(entered)
				<-release
				return good(ctx, req)
			})
		}
	}
	// taken waits until the worker has the change, by a request of its own.
	taken := func(server, message string) {
		s.eventually("the worker has the change", func() bool {
			return strings.Contains(s.do("POST", "/"+server+"/mcp", "X-Script: none").body, message)
		})
	}
	s.authz.set("none", always(nil))
	o := during("gone", inAuthz("gone"), func() {
		s.apply(drop("gone"))
		taken("gone", noSuchServer)
	})
	if o.status != http.StatusNotFound || !strings.Contains(o.body, noSuchServer) {
		t.Errorf("deleted meanwhile: %+v", o)
	}
	o = during("anew", inAuthz("anew"), func() {
		s.apply(drop("anew"))
		taken("anew", noSuchServer)
		s.apply(s.put(mcpServer("anew", 9)))
		taken("anew", noDecision)
	})
	if o.status != http.StatusServiceUnavailable || !strings.Contains(o.body, noDecision) {
		t.Errorf("deleted and created anew meanwhile: %+v", o)
	}
	o = during("kept", inAuthz("kept"), func() {
		s.apply(drop("kept"))
		s.authz.set("route", good)
		s.eventually("the worker has no cluster", func() bool {
			return strings.Contains(s.do("POST", "/kept/mcp", "X-Script: route", "-X-Case", "X-Case: probe").body, gatewayFailed)
		})
	})
	if o.status != http.StatusServiceUnavailable || !strings.Contains(o.body, gatewayFailed) {
		t.Errorf("the cluster alone gone meanwhile: %+v", o)
	}
	if n := len(s.upstream.of("none")); n != 0 {
		t.Errorf("the upstream got %v", s.upstream.rows())
	}
	s.authz.set("busy", good)
	o = during("busy", func(entered, release chan struct{}) {
		s.upstream.answerBy(func(net.Conn, seen) bool {
			close(entered)
			<-release
			return false
		})
	}, func() {
		s.apply(drop("busy"))
		s.eventually("the cluster is gone", func() bool { return !strings.Contains(s.envoy.Get("/clusters"), "s-busy@3::") })
	})
	if o.status != http.StatusOK {
		t.Errorf("deleted while the upstream worked: %+v", o)
	}
}

// TestPoisonedScopesRecover is E6 §3 row 6: a scope that Envoy refuses takes
// those beside it with it, until they are sent again.
func TestPoisonedScopesRecover(t *testing.T) {
	t.Parallel()
	s := startScripted(t, editing(t, func(scope *routev3.ScopedRouteConfiguration) {
		if scope.GetName() != "mad" {
			return
		}
		scope.GetRouteConfiguration().GetVirtualHosts()[0].GetRoutes()[0].GetMatch().PathSpecifier = &routev3.RouteMatch_SafeRegex{
			SafeRegex: &matcherv3.RegexMatcher{Regex: "["},
		}
	}), mcpServer("a", 3), mcpServer("m", 3))

	// Between its neighbours in the order of names, and with one that exists.
	moved := mcpServer("m", 7)
	moved.Upstream.URL = s.upstream.url("/up/moved")
	report := s.apply(s.put(mcpServer("before", 7)), s.put(mcpServer("mad", 7)), s.put(moved), s.put(mcpServer("zuletzt", 7)))
	if len(report.Rejected) != 1 || report.Rejected[0].Name != "mad" || report.Rejected[0].Message == "" {
		t.Errorf("rejected: %+v", report.Rejected)
	}
	if got := s.ads.Status().Rejections; len(got) != 1 || got[0].Name != "mad" {
		t.Errorf("status: %+v", got)
	}
	// Only a request tells the truth: Envoy's own dump shows poisoned scopes.
	for name, target := range map[string]string{"before": "/up/before", "m": "/up/moved", "zuletzt": "/up/zuletzt", "a": "/up/a"} {
		s.eventually(name+" is served", func() bool {
			o := s.do("POST", "/"+name+"/mcp")
			got := s.upstream.of("none")
			return o.status == http.StatusOK && got[len(got)-1].target == target
		})
	}
	if o := s.do("POST", "/mad/mcp"); o.status != http.StatusNotFound {
		t.Errorf("the refused server: %+v", o)
	}
	// The next change is not held up by it.
	if report := s.apply(s.put(mcpServer("next", 8))); len(report.Rejected) > 0 {
		t.Errorf("rejected: %+v", report.Rejected)
	}
	s.eventually("the next server is served", func() bool { return s.do("POST", "/next/mcp").status == http.StatusOK })
}

// load sends requests on kept connections until stop, and returns how often
// each status was the answer.
func (s *scripted) load(connections int) (sent *atomic.Int64, stop func() map[int]int) {
	s.Helper()
	quit := make(chan struct{})
	sent = &atomic.Int64{}
	var mu sync.Mutex
	statuses := map[int]int{}
	var done sync.WaitGroup
	for range connections {
		done.Go(func() {
			// A client that retries nothing: what is refused is counted.
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: patience}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-quit:
					return
				default:
				}
				code := s.call(client)
				sent.Add(1)
				mu.Lock()
				statuses[code]++
				mu.Unlock()
			}
		})
	}
	return sent, func() map[int]int {
		close(quit)
		done.Wait()
		return statuses
	}
}

// call is the status of one good call, 0 when there is no answer.
func (s *scripted) call(client *http.Client) int {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+s.address+"/a/mcp", strings.NewReader(goodCall))
	if err != nil {
		return 0
	}
	req.GetBody = nil // or the transport would send it again
	req.Host = "gw.test"
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(caseHeader, "load")
	resp, err := client.Do(req)
	if err != nil {
		s.Logf("call: %v", err)
		return 0
	}
	drain(resp)
	return resp.StatusCode
}

// more waits until n further requests have been answered.
func (s *scripted) more(sent *atomic.Int64, n int64) {
	s.Helper()
	want := sent.Load() + n
	s.eventually("more requests", func() bool { return sent.Load() >= want })
}

// TestListenerChangeUnderLoad is E6 §3 row 8: a control plane that starts with
// another listener changes it without an error, and an open stream stays.
func TestListenerChangeUnderLoad(t *testing.T) {
	t.Parallel()
	s := startScripted(t, nil, mcpServer("a", 3))
	release := make(chan struct{})
	s.upstream.answerBy(func(c net.Conn, r seen) bool {
		if r.method != http.MethodGet {
			return false
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
		<-release
		_, _ = io.WriteString(c, "9\r\ndata: 2\n\n\r\n0\r\n\r\n")
		return true
	})
	stream, err := dialRaw(s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	req := row{}
	if _, err := io.WriteString(stream, req.fill(request1("GET", "/a/mcp"), "stream", "t")); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(stream), &http.Request{Method: http.MethodGet})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	first := make([]byte, len("data: 1\n\n"))
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		t.Fatal(err)
	}

	sent, stop := s.load(4)
	s.more(sent, 100)
	large := func() int {
		r := row{http1: post1("/a/mcp"), body: padded(96 << 10)}
		return exchange1(s.address, r.fill(r.http1, "large", "t")+r.body, 1)[0].status
	}
	if code := large(); code != http.StatusOK {
		t.Errorf("before: a body of 96 KiB gets %d", code)
	}
	for _, limit := range []int{64 << 10, 128 << 10, 64 << 10} {
		s.cfg.MaxRequestBytes = limit
		s.stopADS()
		s.more(sent, 50) // Envoy goes on without a control plane
		s.serveADS(nil)
		want := http.StatusRequestEntityTooLarge
		if limit > 96<<10 {
			want = http.StatusOK
		}
		s.eventually("the new limit holds for new connections", func() bool { return large() == want })
		s.more(sent, 100)
	}

	// A listener that Envoy refuses changes nothing.
	s.stopADS()
	s.cfg.MaxRequestBytes = 128 << 10
	s.serveADS(editing(t, func(l *listenerv3.Listener) { l.GetFilterChains()[0].Filters[0].Name = "" }))
	s.eventually("the listener is refused", func() bool { return len(s.ads.Status().Rejections) > 0 })
	if r := s.ads.Status().Rejections[0]; r.Name != xds.ListenerName || r.Message == "" {
		t.Errorf("rejection: %+v", r)
	}
	if code := large(); code != http.StatusRequestEntityTooLarge {
		t.Errorf("after a refused listener: a body of 96 KiB gets %d", code)
	}
	s.more(sent, 50)
	if got := stop(); len(got) != 1 || got[http.StatusOK] == 0 {
		t.Errorf("answers by status: %v", got)
	}
	close(release)
	rest, err := io.ReadAll(resp.Body)
	if err != nil || string(rest) != "data: 2\n\n" {
		t.Errorf("the stream that was open: %q, %v", rest, err)
	}
}

// TestAuthzSocketFaults is E2 §6 and E6 §3 row 11 for what is at the other end
// of the socket: nothing, or something that is no decision service.
func TestAuthzSocketFaults(t *testing.T) {
	t.Parallel()
	s := startScripted(t, nil, mcpServer("a", 3))
	refuse := func(what string) {
		t.Helper()
		for range 3 {
			o := s.do("POST", "/a/mcp")
			if o.status != http.StatusServiceUnavailable || !strings.Contains(o.body, noAuthz) {
				t.Errorf("%s: %+v", what, o)
			}
			checkRefusal(t, o)
		}
	}
	s.authz.stop()
	refuse("nothing listens")
	for what, talk := range map[string]func(net.Conn){
		"accepts and closes": func(net.Conn) {},
		"speaks HTTP/1.1":    func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") },
		"speaks nonsense":    func(c net.Conn) { _, _ = c.Write([]byte{0, 0xff, 1, 0xfe, 0, 0, 0, 0, 0, 0x80}) },
		"answers without a grpc-status": func(c net.Conn) {
			answerGRPC(c, field{":status", "200"}, field{"content-type", "application/grpc"})
		},
		"answers OK without a message": func(c net.Conn) {
			answerGRPC(c, field{":status", "200"}, field{"content-type", "application/grpc"}, field{"grpc-status", "0"})
		},
	} {
		var conns []net.Conn
		var talking sync.WaitGroup
		stop := serveOn(t, s.dir+"/authz.sock", func(l net.Listener) error {
			for {
				c, err := l.Accept()
				if err != nil {
					return err
				}
				conns = append(conns, c)
				talking.Go(func() {
					talk(c)
					_ = c.Close()
				})
			}
		}, func() {})
		refuse(what)
		stop()
		if len(conns) == 0 {
			t.Errorf("%s: Envoy never came", what)
		}
		for _, c := range conns {
			_ = c.Close()
		}
		talking.Wait()
	}
	if n := s.upstream.count(); n != 0 {
		t.Errorf("the upstream got %v", s.upstream.rows())
	}
	s.serveAuthz()
	s.eventually("the service is back", func() bool { return s.do("POST", "/a/mcp").status == http.StatusOK })
}

// answerGRPC reads a call and answers it with a header block and no message.
func answerGRPC(c net.Conn, fields ...field) {
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	f := http2.NewFramer(c, c)
	if err := f.WriteSettings(); err != nil {
		return
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if h, ok := frame.(*http2.HeadersFrame); ok {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, BlockFragment: block(fields), EndHeaders: true, EndStream: true})
		}
	}
}
