package e2e_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mcpgate/mcpgate/envoy/envoytest"
)

// controlAdvisories are section 4.4: what is behind the gateway.
func controlAdvisories() []advisory {
	return []advisory{
		{
			section: "4.4", ids: "CVE-2025-64323, CVE-2026-53714", bug: "kgateway, Envoy Gateway: xDS is served to whoever asks",
			run: []attack{
				{name: "a network address without certificates", outcome: "does not start", run: refusesToStart("xds: {listen: \"127.0.0.1:%d\"}\n", "xds.tls")},
				{name: "ext_authz on a network address without certificates", outcome: "does not start", run: refusesToStart("extAuthz: {listen: \"127.0.0.1:%d\"}\n", "extAuthz.tls")},
				{name: "a client without a certificate, or with a foreign one", outcome: "TLS: no connection", run: xdsWantsCertificates},
				{name: "the sockets are the owner's alone", outcome: "mode 0600", run: func(t *testing.T, c *catalogue) {
					for _, name := range []string{"xds.sock", "authz.sock", "admin.sock", "web.sock"} {
						info, err := os.Stat(filepath.Join(c.dir, "data", name))
						if err != nil {
							t.Fatal(err)
						}
						if mode := info.Mode().Perm(); mode != 0o600 {
							t.Errorf("%s has mode %o", name, mode)
						}
					}
				}},
			},
			tests: []string{"TestDumpHasNoPrivateKey", "TestFirstRequestMustCarryAGoodNode", "TestValidate"},
		},
		{
			section: "4.4", ids: "GHSA-g53w-w6mj-hrpp", bug: "mcp-gateway: a header with a shared secret skips the token and rewrites the host",
			rows: append(pick(headerRows(), "x-forwarded-client-cert", "x-forwarded-for is", "x-forwarded-proto", "F16: x-real-ip", "F16: forwarded"),
				anonymousRow("identity in headers", "X-Mcpgate-Subject: eve", "X-Mcpgate-Scopes: use admin"),
				anonymousRow("the decision in headers", "X-Mcpgate-Route: plain:a@1", "X-Envoy-Auth-Partial-Body: false", "X-Envoy-Force-Trace: 1"),
				anonymousRow("certificate in a header", "X-Forwarded-Client-Cert: By=spiffe://x;Subject=\"CN=admin\""),
				row{name: "host in headers", http1: post1("/a/mcp", "X-Forwarded-Host: b", "Forwarded: host=b", "X-Original-Host: b"), body: goodCall, want: with(allowed("a", "/up/a"), "x-forwarded-host", "(absent)")}),
			run: []attack{{name: "no secret in the arguments or the environment of Envoy", outcome: "absent", run: noSecretInProcess}},
		},
		{
			section: "4.4", ids: "GHSA-vw82-7fv8-r6gp, CVE-2026-33032, CVE-2026-59822", bug: "Obot, nginx-ui, LiteLLM: an MCP endpoint without authorization",
			rows: everyRoute(),
		},
		{
			section: "4.4", ids: "CVE-2026-42271, CVE-2026-48710", bug: "LiteLLM: to test a connection runs a command; the Host header takes authentication away",
			rows: []row{
				{name: "the API is not on the public listener", http1: request1("POST", "/api/v1/apply", "-Authorization", "Content-Type: application/json"), want: unasked(404)},
				{name: "nor by its host", http1: request1("GET", "/api/v1/status", "-Host", "Host: localhost"), want: unasked(404)},
			},
			run: []attack{{name: "the admin API has nothing that connects or executes", outcome: "404", run: func(t *testing.T, c *catalogue) {
				for _, path := range []string{"/api/v1/test", "/api/v1/server/a/test", "/api/v1/probe", "/mcp", "/debug/pprof/", "/"} {
					if o := c.admin(t, "POST", path); o.status != 404 && o.status != 405 {
						t.Errorf("%s got %d %s", path, o.status, o.body)
					}
				}
			}}},
		},
		{
			section: "4.4", ids: "CVE-2026-44430, CVE-2026-58196, CVE-2026-34476, CVE-2026-55671, CVE-2024-24790, CVE-2026-2455", bug: "discovery and redirects lead to inner addresses, by odd forms of them too",
			run: []attack{{name: "issuers that are metadata services", outcome: "refused, or no keys", run: func(t *testing.T, c *catalogue) {
				for i, url := range []string{"http://169.254.169.254", "http://[fd00:ec2::254]", "http://metadata.google.internal", "http://10.0.0.1", "ftp://idp.example", "https://u:p@idp.example"} {
					r := c.run(fmt.Sprintf("kind: Issuer\nname: inner%d\nissuer: %s\n", i, url), "apply", "--dry-run", "-f", "-")
					if r.code == 0 {
						t.Errorf("issuer %s was accepted", url)
					}
				}
			}}},
			tests: []string{"TestAddresses", "TestNameThatResolvesToLoopback", "TestTransportLimits", "TestURLs", "TestDiscovery", "TestPlainHTTPIsForLoopbackIssuersOnly"},
		},
		{
			section: "4.4", ids: "CVE-2025-64443, CVE-2025-59163, CVE-2026-9739", bug: "a page rebinds its name to the machine and speaks with a local service",
			rows: []row{
				{name: "name of the page", http1: post1("/a/mcp", "-Host", "Host: evil.example"), body: goodCall, want: unasked(404)},
				{name: "name of the page, for the metadata", http1: request1("GET", "/.well-known/oauth-protected-resource/a/mcp", "-Host", "Host: evil.example"), want: unasked(404)},
				{name: "name of the page, for the health", http1: request1("GET", "/healthz", "-Host", "Host: evil.example"), want: unasked(404)},
				{name: "origin of the page", http1: post1("/a/mcp", "Origin: http://evil.example"), body: goodCall, want: refused(403, "origin")},
			},
			run: []attack{
				{name: "the admin API on a network address needs TLS and a token", outcome: "does not start", run: refusesToStart("admin: {listen: \"127.0.0.1:%d\"}\n", "admin.t")},
				{name: "Envoy's admin interface is not for the network", outcome: "does not start", run: refusesToStart("envoy: {adminListen: \"0.0.0.0:%d\"}\n", "envoy.adminListen")},
			},
			tests: []string{"TestAuthenticate"},
		},
		{
			section: "4.4", ids: "CVE-2026-44427, GHSA-vrw8-fxc6-2r93", bug: "a path of two slashes is an open redirect",
			rows: []row{
				{name: "two slashes", http1: request1("GET", "//evil.example/"), want: unasked(404)},
				{name: "two slashes and dots", http1: request1("GET", "//evil.example/%2e%2e"), want: unasked(404)},
				{name: "backslash", http1: request1("GET", `/\evil.example/`), want: unasked(404)},
				{name: "in the metadata", http1: request1("GET", "/.well-known//evil.example/"), want: unasked(404)},
				{name: "in the metadata, a slash too many", http1: request1("GET", "/.well-known/oauth-protected-resource/"), want: unasked(404)},
				{name: "in the metadata, dots", http1: request1("GET", "/.well-known/oauth-protected-resource/x/./a/mcp"), want: unasked(404)},
				{name: "in the health", http1: request1("GET", "/healthz/"), want: unasked(404)},
				{name: "server without its slash", http1: request1("GET", "/a"), want: unasked(404)},
			},
			run: []attack{{name: "at the admin API", outcome: "404, or a path of its own", run: func(t *testing.T, c *catalogue) {
				for _, path := range []string{"//evil.example", "//evil.example/", "//evil.example/..", `/\evil.example`, "/api/v1//evil.example", "http://evil.example/api/v1/status/"} {
					o := c.admin(t, "GET", path)
					if to := o.header.Get("Location"); o.status < 300 || strings.HasPrefix(to, "//") || strings.Contains(to, ":") || strings.Contains(to, `\`) {
						t.Errorf("%s got %d, Location %q", path, o.status, to)
					}
				}
			}}},
		},
		{
			section: "4.4", ids: "CVE-2026-27586, CVE-2026-54762", bug: "Caddy, Traefik: a CA or secret that cannot be read means none",
			run: []attack{
				{name: "secret that is not there", outcome: "503 secret-unavailable", run: func(t *testing.T, c *catalogue) {
					token := c.forger.token(t, nil, map[string]any{"scope": "dots"})
					c.try(t, row{name: "secret", http1: post1("/nosecret/mcp"), body: call("a.b"), token: token, want: unavailable("nosecret", "secret-unavailable")})
				}},
				{name: "public certificate that is not there", outcome: "does not start", run: refusesToStart("", "", "  tls: {certFile: /nonexistent/cert.pem, keyFile: /nonexistent/key.pem}\n")},
				{name: "client CA that is empty", outcome: "does not start", run: emptyClientCA},
				{name: "configuration cut in the middle", outcome: "does not start", run: refusesToStart("xds: {listen: \n", "")},
				{name: "registry that is damaged", outcome: "does not start", run: damagedRegistry},
				{name: "CA of an upstream that is not there", outcome: "apply fails, upstream not used", run: missingUpstreamCA},
			},
			tests: []string{"TestOpenRefusesDamagedFiles", "TestVanishedFileDoesNotServeItsFormerValue", "TestLiveUpstreamTLSIsAlwaysVerified", "TestOpenSurvivesRandomDamage"},
		},
		{
			section: "4.4", ids: "CVE-2026-29777, CVE-2026-32695, CVE-2026-22771", bug: "Traefik, Envoy Gateway: text of a resource becomes a rule of the proxy",
			run: []attack{
				{name: "names", outcome: "refused", run: func(t *testing.T, c *catalogue) {
					for _, name := range []string{"a`b", "a'b", `a"b`, "a b", "a/b", "a%2fb", "a%REQ(x)%", "A", "a_b", "a.b", "..", "*", "a@1", "-a", "a-", "ä", "a\u0000", strings.Repeat("a", 64), "", "healthz", "well-known", "api"} {
						doc, err := json.Marshal(map[string]any{"kind": "Server", "name": name, "upstream": map[string]any{"url": "http://127.0.0.1:1/mcp"}})
						if err != nil {
							t.Fatal(err)
						}
						if r := c.run(string(doc), "apply", "--dry-run", "-f", "-"); r.code == 0 {
							t.Errorf("server %q was accepted", name)
						}
					}
				}},
				{name: "upstream URLs", outcome: "refused", run: func(t *testing.T, c *catalogue) {
					for _, url := range []string{"http://127.0.0.1:1/mcp?x", "http://127.0.0.1:1/#x", "http://u:p@127.0.0.1:1/", "http://a b/", "http://127.0.0.1:1/\r\nx: y", "unix:/x", "file:///etc/passwd", "http://", "//x/", "javascript:x"} {
						doc, err := json.Marshal(map[string]any{"kind": "Server", "name": "x", "upstream": map[string]any{"url": url}})
						if err != nil {
							t.Fatal(err)
						}
						if r := c.run(string(doc), "apply", "--dry-run", "-f", "-"); r.code == 0 {
							t.Errorf("upstream %q was accepted", url)
						}
					}
				}},
			},
			tests: []string{"FuzzUpstreamURL", "TestClusterRefusesAnURLThatIsNotAnUpstream", "TestScopeRefusedAloneIsQuarantinedAtOnce", "TestLivePoisonedScopesRecover", "TestValidateServer"},
		},
		{
			section: "4.4", ids: "CVE-2026-71327, CVE-2026-54765", bug: "Traefik: the routes of two tenants have one name",
			tests: []string{"TestClusterNameIsInjective", "TestClusterNamesOfNeighbours", "TestTrieCollisions", "TestFieldsDoNotRunTogether"},
		},
		{
			section: "4.4", ids: "CVE-2026-73499, CVE-2026-44283, CVE-2026-33413", bug: "etcd: a range or a nested transaction passes its access rules",
			outside: "there is no etcd store yet",
		},
		{
			section: "4.4", ids: "CVE-2026-73500", bug: "a flood of half-open TLS handshakes has a goroutine each, without a bound",
			outside: "the public listener is Envoy's",
			missing: "a bound on half-open handshakes at the program's own TLS ports (xds, extAuthz and admin on a network address)",
		},
		{
			section: "4.4", ids: "istio#41494, envoy#33607, envoy#36951", bug: "delta xDS: a reconnect leaks, or waits for ever",
			tests: []string{"TestReconnectSendsTheDifference", "TestReconnectSendsNothingWhenEqual", "TestReconnectBeforeHealthzStillGetsItLast", "TestLiveReconnectSendsNothingThenTheDifference", "TestManyStreamsAllGetAChange", "TestEveryEnvoyEndsWithTheSameState"},
		},
	}
}

func anonymousRow(name string, edits ...string) row {
	return row{name: name, http1: post1("/a/mcp", append([]string{"-Authorization"}, edits...)...), body: goodCall, want: refused(401, "token-missing")}
}

func unavailable(server, rule string) verdict {
	return verdict{status: http.StatusServiceUnavailable, rule: rule, server: server}
}

// everyRoute asks all that the listener serves without a token.
func everyRoute() []row {
	var rows []row
	for _, server := range []string{"a", "b", "cred", "apikey", "fwd", "nosecret", "onlycorp"} {
		for _, verb := range []string{"POST", "GET", "DELETE"} {
			want := refused(401, "token-missing")
			want.server = server
			r := row{name: verb + " " + server, http1: request1(verb, "/"+server+"/mcp", "-Authorization"), want: want}
			if verb == "POST" {
				r.body = goodCall
			}
			rows = append(rows, r)
		}
	}
	for _, path := range []string{"/off/mcp", "/none/mcp", "/", "/api/v1/server", "/v0.1/servers", "/metrics", "/oauth", "/ui", "/stats", "/config_dump", "/quitquitquit", "/debug/pprof/", "/xds", "/envoy.service.auth.v3.Authorization/Check"} {
		rows = append(rows, row{name: "GET " + path, http1: request1("GET", path, "-Authorization"), want: unasked(404)})
	}
	return rows
}

// admin asks the admin API on its socket.
func (c *catalogue) admin(t *testing.T, verb, path string) outcome {
	t.Helper()
	return exchange1("unix:"+filepath.Join(c.dir, "data", "admin.sock"), verb+" "+path+" HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 1)[0]
}

// refusesToStart is `mcpgate up` with further configuration that has a port in
// it: it must end with 1 and name the field. gateway are fields of gateway.
func refusesToStart(extra, field string, gateway ...string) func(*testing.T, *catalogue) {
	return func(t *testing.T, _ *catalogue) {
		g := prepare(t)
		if strings.Contains(extra, "%d") {
			extra = fmt.Sprintf(extra, envoytest.FreePort(t))
		}
		g.configure(strings.Join(gateway, "") + extra)
		g.mustNotStart(t, field)
	}
}

func (g *gateway) mustNotStart(t *testing.T, field string) {
	t.Helper()
	done := g.launch("up")
	g.stop = func() {}
	select {
	case code := <-done:
		if code == 0 || !strings.Contains(g.logs.String(), field) {
			t.Errorf("mcpgate up ended with %d, log:\n%s", code, g.logs)
		}
	case <-time.After(patience):
		t.Errorf("mcpgate up runs:\n%s", g.logs)
	}
	if !g.portFree() {
		t.Error("something listens on the public address")
	}
}

// certificates are files of an authority's: a certificate, its key, and the
// authority.
func certificates(t *testing.T, dir string) (a *authority, files string) {
	t.Helper()
	a = newAuthority(t)
	cert, key := a.issue(2)
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return a, fmt.Sprintf("certFile: %s, keyFile: %s, clientCAFile: %s", write("cert.pem", cert), write("key.pem", key), write("ca.pem", authorityPEM(a)))
}

// emptyClientCA: the CA of the clients of xDS is a file of no certificate.
func emptyClientCA(t *testing.T, _ *catalogue) {
	g := prepare(t)
	_, files := certificates(t, g.dir)
	g.write(filepath.Join(g.dir, "ca.pem"), "")
	g.configure(fmt.Sprintf("xds: {listen: \"127.0.0.1:%d\", tls: {%s}}\n", envoytest.FreePort(t), files))
	g.mustNotStart(t, "ca.pem")
}

// xdsWantsCertificates: with a certificate of the authority, gRPC answers;
// with none, or one of another authority, there is no connection.
func xdsWantsCertificates(t *testing.T, _ *catalogue) {
	g := prepare(t)
	a, files := certificates(t, g.dir)
	address := "127.0.0.1:" + strconv.Itoa(envoytest.FreePort(t))
	g.configure(fmt.Sprintf("xds: {listen: %q, tls: {%s}}\n", address, files))
	g.launch("serve")
	g.eventually("the program answers", func() bool { return g.run("", "status").code == 0 })
	connect := func(certs ...tls.Certificate) error {
		d := tls.Dialer{Config: &tls.Config{RootCAs: a.pool(), Certificates: certs, NextProtos: []string{"h2"}}}
		conn, err := d.DialContext(context.Background(), "tcp", address)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		// In TLS 1.3 the client hears of a refusal only when it reads: a server
		// that accepts sends its HTTP/2 settings.
		if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
			return err
		}
		_, err = io.ReadFull(conn, make([]byte, 9))
		return err
	}
	pair := func(a *authority) tls.Certificate {
		cert, err := tls.X509KeyPair(clientCertificate(t, a))
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	if err := connect(pair(a)); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	if err := connect(); err == nil {
		t.Error("without a certificate: connected")
	}
	if err := connect(pair(newAuthority(t))); err == nil {
		t.Error("with a foreign certificate: connected")
	}
	if conn, err := net.Dial("tcp", address); err == nil {
		_, _ = io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Error(err)
		}
		got := make([]byte, 9)
		if _, err := io.ReadFull(conn, got); err == nil && got[3] == 4 {
			t.Error("without TLS: connected")
		}
		_ = conn.Close()
	}
}

// damagedRegistry: the registry's file has a page of something else.
func damagedRegistry(t *testing.T, _ *catalogue) {
	g := prepare(t)
	g.configure("")
	if err := os.MkdirAll(filepath.Join(g.dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	g.write(filepath.Join(g.dir, "data", "registry.db"), strings.Repeat("not a registry ", 4096))
	g.mustNotStart(t, "registry.db")
}

// missingUpstreamCA: https to an upstream whose CA file is not there must not
// become https without verification.
func missingUpstreamCA(t *testing.T, c *catalogue) {
	r := c.run("kind: Server\nname: noca\nupstream: {url: https://127.0.0.1:1/mcp, tls: {caFile: /nonexistent/ca.pem}}\n---\nkind: Scope\nname: noca\nrules: [{servers: [noca], tools: [get_forecast]}]\n", "apply", "-f", "-")
	if r.code == 0 {
		t.Errorf("apply said:\n%s%s", r.stdout, r.stderr)
	}
	o := exchange1(c.address, row{http1: post1("/noca/mcp"), body: goodCall}.fill(post1("/noca/mcp"), "noca", c.token("noca", "noca"))+goodCall, 1)[0]
	if o.status < 400 {
		t.Errorf("answer %+v", o)
	}
	if r := c.run("", "delete", "scope", "noca"); r.code != 0 {
		t.Errorf("delete: %+v", r)
	}
	if r := c.run("", "delete", "server", "noca"); r.code != 0 {
		t.Errorf("delete: %+v", r)
	}
}

// noSecretInProcess looks where other users of the machine can.
func noSecretInProcess(t *testing.T, c *catalogue) {
	pid := c.envoyPID()
	if pid == 0 {
		t.Fatal("no Envoy")
	}
	for _, file := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if os.IsNotExist(err) {
			continue // not a Linux
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{upstreamSecret, "BEGIN ", "eyJ"} {
			if strings.Contains(string(b), word) {
				t.Errorf("%s of Envoy has %q", file, word)
			}
		}
	}
}

func authorityPEM(a *authority) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// clientCertificate is one for clients, and its key, PEM.
func clientCertificate(t *testing.T, a *authority) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(3), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a.cert, private.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}
