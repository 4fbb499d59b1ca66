package ads

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/xds"
)

// caller calls a server without pause until told to stop, and keeps the
// statuses in the order in which they changed.
type caller struct {
	stop     chan struct{}
	done     chan struct{}
	calls    int
	statuses []int
}

func (g *live) keepCalling(name string) *caller {
	c := &caller{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for {
			select {
			case <-c.stop:
				return
			default:
			}
			code, _ := g.call(name)
			c.calls++
			if n := len(c.statuses); n == 0 || c.statuses[n-1] != code {
				c.statuses = append(c.statuses, code)
			}
		}
	}()
	return c
}

// end returns the statuses.
func (c *caller) end() []int {
	close(c.stop)
	<-c.done
	return c.statuses
}

func TestLiveAddedServerAnswersWhenWaitReturns(t *testing.T) {
	t.Parallel()
	old := mcp("old", 1, 1, "")
	old.Upstream.URL = "/old"
	g := startLive(t, xds.Config{}, nil, old)
	g.connected(1)
	if code, _ := g.get(http.MethodGet, "/healthz"); code != http.StatusOK {
		t.Errorf("healthz: %d", code)
	}
	other := g.keepCalling("old")
	for i := range int64(30) {
		name := fmt.Sprintf("new%d", i)
		early := g.keepCalling(name)
		g.published(put(g.to(name, i+2, "/"+name)))
		g.want(name, http.StatusOK, "/"+name)
		for _, code := range early.end() {
			if code != http.StatusOK && code != http.StatusNotFound {
				t.Errorf("%s answered %d while it was added", name, code)
			}
		}
	}
	for i := range int64(30) {
		name := fmt.Sprintf("new%d", i)
		g.published(drop(i+32, name))
		g.want(name, http.StatusNotFound, "")
	}
	if got := other.end(); len(got) != 1 || got[0] != http.StatusOK {
		t.Errorf("the other server answered %v in %d calls", got, other.calls)
	}
}

func TestLiveUpstreamChangeIsUnnoticed(t *testing.T) {
	t.Parallel()
	a := mcp("a", 1, 1, "")
	a.Upstream.URL = "/first"
	g := startLive(t, xds.Config{}, nil, a)
	g.connected(1)
	var load [2]*caller
	for i := range load {
		load[i] = g.keepCalling("a")
	}
	for i := range int64(20) {
		path := fmt.Sprintf("/v%d", i)
		g.published(put(g.to("a", i+2, path)))
		g.want("a", http.StatusOK, path)
	}
	for _, c := range load {
		if got := c.end(); len(got) != 1 || got[0] != http.StatusOK {
			t.Errorf("answered %v in %d calls", got, c.calls)
		}
	}
}

// badRegex passes no validation of ours, but that of Envoy's decoding: it
// fails when the scope is applied, which is what poisons its neighbours.
func badRegex(b *builders) {
	b.validate = func(proto.Message) error { return nil }
	scope := b.scope
	b.scope = func(versions []*registry.Server, rev uint64) (proto.Message, error) {
		m, err := scope(versions, rev)
		if err != nil || versions[len(versions)-1].Title != "bad" {
			return m, err
		}
		s, ok := m.(*routev3.ScopedRouteConfiguration)
		if !ok {
			return nil, fmt.Errorf("a scope of type %T", m)
		}
		s.RouteConfiguration.VirtualHosts[0].Routes[0].Match.Headers = []*routev3.HeaderMatcher{{
			Name: "x",
			HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
				MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: "["}},
			}},
		}}
		return s, nil
	}
}

func TestLivePoisonedScopesRecover(t *testing.T) {
	t.Parallel()
	was := mcp("changed", 1, 1, "")
	was.Upstream.URL = "/before"
	g := startLive(t, xds.Config{}, badRegex, was)
	g.connected(1)
	bad := g.to("bad", 2, "/bad")
	bad.Title = "bad"
	r := g.published(put(g.to("after", 2, "/after"), bad, g.to("changed", 2, "/now"), g.to("zlast", 2, "/zlast")))
	if len(r.Rejected) != 1 || r.Rejected[0].Name != "bad" || r.Rejected[0].Node != "gw-1" || r.Rejected[0].Message == "" {
		t.Errorf("rejected %+v", r.Rejected)
	}
	g.want("after", http.StatusOK, "/after")
	g.want("changed", http.StatusOK, "/now")
	g.want("zlast", http.StatusOK, "/zlast")
	g.want("bad", http.StatusNotFound, "")
	// The response with all four, and the bad one alone; no loop.
	if n := g.envoy.Counter("http.mcp.scoped_rds.servers.update_rejected"); n != 2 {
		t.Errorf("envoy has refused %d times", n)
	}
	if r := g.published(put(g.to("bad", 3, "/good"))); len(r.Rejected) != 0 {
		t.Errorf("rejected %+v", r.Rejected)
	}
	g.want("bad", http.StatusOK, "/good")
}

// The control: without another content Envoy takes the neighbours for known,
// and they are lost. If this test fails, Envoy no longer has the fault.
func TestLiveEqualContentDoesNotRecover(t *testing.T) {
	t.Parallel()
	g := startLive(t, xds.Config{}, func(b *builders) {
		badRegex(b)
		scope := b.scope
		b.scope = func(v []*registry.Server, _ uint64) (proto.Message, error) { return scope(v, firstRev) }
	})
	g.connected(1)
	bad := g.to("bad", 2, "/bad")
	bad.Title = "bad"
	g.xds.Apply(put(g.to("aaa", 2, "/aaa"), bad))
	g.until("envoy has refused it", func() bool { return g.envoy.Counter("http.mcp.scoped_rds.servers.update_rejected") > 0 })
	// The same content, alone, in a new response and under a new version.
	g.xds.mu.Lock()
	rec, _ := g.xds.catalog.logs[scopes].get("aaa")
	again := content{"aaa", "again", rec.res.GetResource()}
	before := g.xds.catalog.seq
	g.xds.catalog.put(scopes, again, 3)
	g.xds.published(before)
	g.xds.mu.Unlock()
	if _, err := g.xds.Wait(soon(t), 2); err != nil {
		t.Fatal(err)
	}
	g.want("aaa", http.StatusNotFound, "")
}

func TestLiveReconnectSendsNothingThenTheDifference(t *testing.T) {
	t.Parallel()
	var list []*registry.Server
	for i := range int64(50) {
		s := mcp(fmt.Sprintf("s%d", i), i+1, i+1, "")
		s.Upstream.URL = fmt.Sprintf("/s%d", i)
		list = append(list, s)
	}
	g := startLive(t, xds.Config{}, nil, list...)
	g.connected(1)
	load := g.keepCalling("s7")
	socket := filepath.Join(g.envoy.Dir, "xds.sock")

	g.stop()
	g.startXDS(socket, nil, snapshot(60, list...))
	g.connected(60)
	if n := g.sent.Load(); n != 0 {
		t.Errorf("%d responses were sent to an Envoy that has everything", n)
	}
	g.published(put(g.to("new", 61, "/new")))
	g.want("new", http.StatusOK, "/new")

	// While the program is down: one deleted, one changed.
	g.stop()
	changed := g.to("s1", 63, "/elsewhere")
	g.startXDS(socket, nil, snapshot(63, append([]*registry.Server{changed, g.to("new", 61, "/new")}, list[2:]...)...))
	g.connected(63)
	g.want("s0", http.StatusNotFound, "")
	g.want("s1", http.StatusOK, "/elsewhere")
	g.want("s2", http.StatusOK, "/s2")
	g.until("the clusters are gone", func() bool { return g.envoy.Counter("cluster_manager.cluster_removed") >= 2 })
	// CDS, SRDS twice for removal and change, CDS.
	if n := g.sent.Load(); n != 4 {
		t.Errorf("%d responses were sent", n)
	}
	if got := load.end(); len(got) != 1 || got[0] != http.StatusOK {
		t.Errorf("s7 answered %v in %d calls", got, load.calls)
	}
}

func TestLiveCertificateComesAndChangesBySDS(t *testing.T) {
	t.Parallel()
	g := startLive(t, xds.Config{TLS: true}, nil)
	g.url = "https" + g.url[len("http"):]
	pair := func() *tls.Certificate {
		cert, key := testPair(t)
		if err := g.xds.SetCertificate(cert, key); err != nil {
			t.Fatal(err)
		}
		c, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return &c
	}
	serves := func(c *tls.Certificate) func() bool {
		return func() bool {
			var d tls.Dialer
			d.Config = &tls.Config{InsecureSkipVerify: true}
			conn, err := d.DialContext(soon(t), "tcp", g.cfg.Listen)
			if err != nil {
				return false
			}
			tc, ok := conn.(*tls.Conn)
			same := ok && tc.ConnectionState().PeerCertificates[0].Equal(c.Leaf)
			return conn.Close() == nil && same
		}
	}
	g.until("the certificate is served", serves(pair()))
	g.until("healthz answers", func() bool { code, _ := g.get(http.MethodGet, "/healthz"); return code == http.StatusOK })
	g.until("the next certificate is served", serves(pair()))
}

func TestLiveManyServersInOneTransaction(t *testing.T) {
	t.Parallel()
	g := startLive(t, xds.Config{}, nil)
	g.connected(1)
	var list []*registry.Server
	for i := range 300 {
		list = append(list, g.to(fmt.Sprintf("s%d", i), 2, "/mcp"))
	}
	g.published(put(list...))
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := w; i < len(list); i += 4 {
				g.want(list[i].Name, http.StatusOK, "/mcp")
			}
		})
	}
	wg.Wait()
}
