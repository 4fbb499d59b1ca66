package xds_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/xds"
)

func TestClusterNameIsInjective(t *testing.T) {
	t.Parallel()
	name := rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := name.Draw(t, "a"), name.Draw(t, "b")
		g, h := rapid.Int64Min(0).Draw(t, "g"), rapid.Int64Min(0).Draw(t, "h")
		if (a != b || g != h) && xds.ClusterName(a, g) == xds.ClusterName(b, h) {
			t.Fatalf("%s@%d and %s@%d have one name", a, g, b, h)
		}
	})
}

func TestBuildersAreDeterministic(t *testing.T) {
	t.Parallel()
	s := server("weather", 3, "https://up.example/mcp")
	bytesOf := func(m proto.Message) string {
		return string(must(proto.MarshalOptions{Deterministic: true}.Marshal(m)))
	}
	for _, build := range []func() proto.Message{
		func() proto.Message { return must(xds.Cluster(s, testConfig)) },
		func() proto.Message { return must(xds.ServerScope([]*registry.Server{s}, 7, testConfig)) },
		func() proto.Message { return must(xds.FixedScopes(7, testConfig))[0] },
		func() proto.Message { return must(xds.Listener(testConfig)) },
	} {
		want := bytesOf(build())
		for range 20 {
			if bytesOf(build()) != want {
				t.Fatalf("two builds of one %T differ", build())
			}
		}
	}
}

func TestRevAloneChangesAScope(t *testing.T) {
	t.Parallel()
	v := []*registry.Server{server("weather", 3, "http://127.0.0.1:1")}
	a, b := must(xds.ServerScope(v, 1, testConfig)), must(xds.ServerScope(v, 2, testConfig))
	if proto.Equal(a, b) {
		t.Error("two revs give one content, so Envoy would not apply the second")
	}
	for i, f := range must(xds.FixedScopes(1, testConfig)) {
		if proto.Equal(f, must(xds.FixedScopes(2, testConfig))[i]) {
			t.Errorf("fixed scope %s: two revs give one content", f.GetName())
		}
	}
}

func TestServerScopeRefuses(t *testing.T) {
	t.Parallel()
	off := false
	disabled := server("weather", 3, "http://127.0.0.1:1")
	disabled.Enabled = &off
	good := func(g int64) *registry.Server { return server("weather", g, "http://127.0.0.1:1") }
	for name, versions := range map[string][]*registry.Server{
		"no version":              nil,
		"disabled":                {disabled},
		"another server":          {good(3), server("other", 4, "http://127.0.0.1:1")},
		"generations unordered":   {good(4), good(3)},
		"one generation twice":    {good(3), good(3)},
		"negative generation":     {good(-1)},
		"generation above 2^53":   {good(1<<53 + 1)},
		"reserved name":           {server("healthz", 1, "http://127.0.0.1:1")},
		"empty name":              {server("", 1, "http://127.0.0.1:1")},
		"name with a slash":       {server("a/b", 1, "http://127.0.0.1:1")},
		"name with a dot":         {server(".well-known", 1, "http://127.0.0.1:1")},
		"upper-case name":         {server("Weather", 1, "http://127.0.0.1:1")},
		"name with an at":         {server("a@1", 1, "http://127.0.0.1:1")},
		"name with a percent":     {server("a%b", 1, "http://127.0.0.1:1")},
		"name that ends in a -":   {server("a-", 1, "http://127.0.0.1:1")},
		"name of 64 characters":   {server(strings.Repeat("a", 64), 1, "http://127.0.0.1:1")},
		"bad URL of a version":    {server("weather", 1, "ftp://127.0.0.1"), good(2)},
		"URL with a control byte": {server("weather", 1, "http://127.0.0.1/\n")},
	} {
		if s, err := xds.ServerScope(versions, 1, testConfig); err == nil {
			t.Errorf("%s: accepted as %v", name, s)
		}
	}
	if _, err := xds.ServerScope([]*registry.Server{good(1)}, 1<<60, testConfig); err == nil {
		t.Error("a rev that a number cannot hold is accepted")
	}
}

func TestClusterRefusesAnURLThatIsNotAnUpstream(t *testing.T) {
	t.Parallel()
	for _, u := range []string{
		"", "up.example", "//up.example", "ftp://up.example", "http://", "http:///mcp", "http://:80", "http://up.example:0", "http://up.example:", "http://up.example:65536",
		"http://up.example:x", "http://user@up.example", "http://user:secret@up.example", "http://up.example/?q", "http://up.example?", "http://up.example/#f", "http://up.example/#",
		"http://up example", "http://up,example", "http://*.example", "http://[fe80::1%25eth0]/", "http://up%2fexample/", "http://[::1", "http://up_example/\x00",
	} {
		if c, err := xds.Cluster(server("weather", 1, u), testConfig); err == nil {
			t.Errorf("%q is accepted as %v", u, c)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows the password: %v", u, err)
		}
	}
	for _, tls := range []registry.TLS{{CAFile: "relative.pem"}, {ServerName: "a b"}, {ServerName: "*.example"}, {ServerName: "."}} {
		s := server("weather", 1, "https://up.example")
		s.Upstream.TLS = &tls
		if c, err := xds.Cluster(s, testConfig); err == nil {
			t.Errorf("TLS %+v is accepted as %v", tls, c)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	build := func(c xds.Config) error {
		_, err1 := xds.Listener(c)
		_, err2 := xds.ServerScope([]*registry.Server{server("weather", 1, "http://127.0.0.1:1")}, 1, c)
		if err1 != nil {
			return err1
		}
		return err2
	}
	good := xds.Config{ExternalURL: "http://gw.test:8080", Listen: "127.0.0.1:8080"}
	if err := build(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*xds.Config){
		"no URL":                 func(c *xds.Config) { c.ExternalURL = "" },
		"URL without scheme":     func(c *xds.Config) { c.ExternalURL = "gw.test" },
		"no listen":              func(c *xds.Config) { c.Listen = "" },
		"listen at a name":       func(c *xds.Config) { c.Listen = "gw.test:80" },
		"listen without port":    func(c *xds.Config) { c.Listen = "127.0.0.1" },
		"port out of range":      func(c *xds.Config) { c.Listen = "127.0.0.1:70000" },
		"host pattern":           func(c *xds.Config) { c.Hosts = []string{"*"} },
		"host suffix pattern":    func(c *xds.Config) { c.Hosts = []string{"*.gw.test"} },
		"host with port":         func(c *xds.Config) { c.Hosts = []string{"gw.test:80"} },
		"two hosts in one":       func(c *xds.Config) { c.Hosts = []string{"a,b"} },
		"bad address":            func(c *xds.Config) { c.Hosts = []string{"[::1"} },
		"origin pattern":         func(c *xds.Config) { c.AllowedOrigins = []string{"*"} },
		"origin host pattern":    func(c *xds.Config) { c.AllowedOrigins = []string{"https://*.example"} },
		"origin with path":       func(c *xds.Config) { c.AllowedOrigins = []string{"https://app.example/"} },
		"origin null":            func(c *xds.Config) { c.AllowedOrigins = []string{"null"} },
		"origin two ports":       func(c *xds.Config) { c.AllowedOrigins = []string{"https://app.example:1:*"} },
		"body limit negative":    func(c *xds.Config) { c.MaxRequestBytes = -1 },
		"body limit too large":   func(c *xds.Config) { c.MaxRequestBytes = 1 << 30 },
		"headers negative":       func(c *xds.Config) { c.MaxHeaders = -1 },
		"headers too many":       func(c *xds.Config) { c.MaxHeaders = 1025 },
		"header bytes no KiB":    func(c *xds.Config) { c.MaxHeaderBytes = 1025 },
		"header bytes too large": func(c *xds.Config) { c.MaxHeaderBytes = 257 << 10 },
		// To Envoy 0 is no timeout; a rounding to it must not pass.
		"authz timeout tiny": func(c *xds.Config) { c.AuthzTimeout = time.Microsecond },
		"authz timeout huge": func(c *xds.Config) { c.AuthzTimeout = time.Hour },
	} {
		c := good
		change(&c)
		if err := build(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDefaultHostsAndOrigins(t *testing.T) {
	t.Parallel()
	hosts := func(c xds.Config) string {
		s := must(xds.ServerScope([]*registry.Server{server("weather", 1, "http://127.0.0.1:1")}, 1, c))
		return strings.Join(s.GetRouteConfiguration().GetVirtualHosts()[0].GetDomains(), " ")
	}
	for _, c := range []struct{ external, listen, want string }{
		{"https://GW.example:8443", "0.0.0.0:8443", "gw.example"},
		{"https://gw.example", "127.0.0.1:8443", "gw.example localhost 127.0.0.1 [::1]"},
		{"http://127.0.0.1:8080", "localhost:8080", "127.0.0.1 localhost [::1]"},
		{"http://[::1]:8080", "[::1]:8080", "[::1] localhost 127.0.0.1"},
	} {
		if got := hosts(xds.Config{ExternalURL: c.external, Listen: c.listen}); got != c.want {
			t.Errorf("%s on %s answers %q, want %q", c.external, c.listen, got, c.want)
		}
	}
}

// FuzzUpstreamURL: whatever URL is built, what is built is valid, and Envoy is
// told the host and path of that URL and no other.
func FuzzUpstreamURL(f *testing.F) {
	for _, u := range []string{
		"http://127.0.0.1:9003/api/mcp", "https://up.example", "https://[2001:db8::7]:8443/mcp", "http://up.example./a%2Fb//c", "https://UP.example:8443/%25",
		"http://0x7f.1/", "http://127.1/", "http://xn--bcher-kva.example/", "http://bücher.example/", "http://a_b/",
	} {
		f.Add(u)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		s := server("weather", 1, raw)
		c, err := xds.Cluster(s, testConfig)
		scope, err2 := xds.ServerScope([]*registry.Server{s}, 1, testConfig)
		if err != nil {
			return
		}
		if err2 != nil {
			t.Fatalf("%q: a cluster but no scope: %v", raw, err2)
		}
		for _, m := range []proto.Message{c, scope} {
			if err := xds.Validate(m); err != nil {
				t.Fatalf("%q: %v", raw, err)
			}
		}
		u := must(url.Parse(raw))
		action := scope.GetRouteConfiguration().GetVirtualHosts()[0].GetRoutes()[0].GetRoute()
		path := u.EscapedPath()
		if path == "" {
			path = "/"
		}
		if action.GetHostRewriteLiteral() != u.Host || action.GetPrefixRewrite() != path || !strings.HasPrefix(path, "/") {
			t.Fatalf("%q: host %q, path %q", raw, action.GetHostRewriteLiteral(), action.GetPrefixRewrite())
		}
	})
}

func BenchmarkServer(b *testing.B) {
	s := server("weather", 3, "https://up.example/mcp")
	for _, c := range []struct {
		name string
		run  func() error
	}{
		{"build", func() error {
			_, err := xds.Cluster(s, testConfig)
			if err == nil {
				_, err = xds.ServerScope([]*registry.Server{s}, 1, testConfig)
			}
			return err
		}},
		{"validate", func() func() error {
			c, scope := must(xds.Cluster(s, testConfig)), must(xds.ServerScope([]*registry.Server{s}, 1, testConfig))
			return func() error {
				if err := xds.Validate(c); err != nil {
					return err
				}
				return xds.Validate(scope)
			}
		}()},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
