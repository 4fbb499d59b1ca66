package e2e_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpgate/mcpgate/envoy/envoytest"
)

// Over a network both sides of xDS, ext_authz and the web endpoint show
// certificates, and the commands a token; whoever has none gets nothing.
func TestServeOverNetwork(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	g := prepare(t)
	file := func(name, content string) string {
		path := filepath.Join(g.dir, name)
		g.write(path, content)
		return path
	}
	caFile := file("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})))
	cert, key := ca.issue(1)
	certFile, keyFile := file("cert.pem", string(cert)), file("key.pem", string(key))
	clientCert, clientKey := ca.issue(2)
	clientCertFile, clientKeyFile := file("envoy.pem", string(clientCert)), file("envoy.key", string(clientKey))
	tokenFile := file("admin.token", "the-admin-token\n")

	var addresses []string
	mutual := ""
	for _, name := range []string{"xds", "extAuthz", "web"} {
		address := fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t))
		addresses = append(addresses, address)
		mutual += fmt.Sprintf("%s: {listen: %q, tls: {certFile: %s, keyFile: %s, clientCAFile: %s}}\n", name, address, certFile, keyFile, caFile)
	}
	admin := fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t))
	g.configure(mutual + fmt.Sprintf("admin: {listen: %q, tls: {certFile: %s, keyFile: %s}, token: \"file:%s\"}\n", admin, certFile, keyFile, tokenFile))
	g.launch("serve")
	g.eventually("the program answers", func() bool { return g.run("", "status").code == 0 })
	bootstrap := g.mustRun("", "bootstrap", "--ca-file", caFile, "--cert-file", clientCertFile, "--key-file", clientKeyFile,
		"--envoy-admin", "unix:"+filepath.Join(g.dir, "hand.sock"))
	envoytest.Start(t, []byte(bootstrap), envoytest.WithDir(g.dir))
	g.eventually("the gateway serves", g.healthy)
	g.applyIssuer()
	g.apply(serverDoc("weather", sample(t, "weather", false)) + weatherPolicy("weather"))
	token := g.token("alice", "weather:read")
	g.want("weather", token, http.StatusOK)
	if a := g.post("weather", token, call("set_alert")); a.status != http.StatusForbidden {
		t.Errorf("forbidden tool: %d %s", a.status, a.body)
	}
	if a := g.get("/.well-known/oauth-protected-resource/weather/mcp"); a.status != http.StatusOK {
		t.Errorf("metadata: %d %s", a.status, a.body)
	}

	for _, address := range addresses {
		if err := speak(address, &tls.Config{RootCAs: ca.pool(), NextProtos: []string{"h2"}}); err == nil {
			t.Errorf("%s serves a client without a certificate", address)
		}
		stranger := newAuthority(t)
		pair, err := tls.X509KeyPair(stranger.issue(3))
		if err != nil {
			t.Fatal(err)
		}
		if err := speak(address, &tls.Config{RootCAs: ca.pool(), NextProtos: []string{"h2"}, Certificates: []tls.Certificate{pair}}); err == nil {
			t.Errorf("%s serves a client with a certificate of another authority", address)
		}
		if out := raw(t, address, nil, "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", patience); strings.Contains(out, "ok") {
			t.Errorf("%s serves without TLS: %s", address, out)
		}
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.pool()}}}
	resp, err := client.Get("https://" + admin + "/api/v1/servers")
	if err != nil {
		t.Fatal(err)
	}
	drain(resp)
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("admin without the token: %d", resp.StatusCode)
	}
}

// speak does the handshake and reads a byte: a server tells only then that it
// does not take the client's certificate.
func speak(address string, config *tls.Config) error {
	conn, err := (&tls.Dialer{Config: config}).DialContext(context.Background(), "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing was written
	// A server of HTTP/2 sends its settings unasked, others wait for a request.
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// An admin endpoint that is open by an explicit `insecure` is usable by the
// commands, and warned about.
func TestInsecureAdmin(t *testing.T) {
	t.Parallel()
	g := prepare(t)
	tokenFile := filepath.Join(g.dir, "admin.token")
	g.write(tokenFile, "the-admin-token\n")
	g.configure(fmt.Sprintf("admin: {listen: \"127.0.0.1:%d\", insecure: true, token: \"file:%s\"}\n", envoytest.FreePort(t), tokenFile))
	g.launch("serve")
	g.eventually("the program answers", func() bool { return g.run("", "status").code == 0 })
	if !strings.Contains(g.logs.String(), "served without TLS") {
		t.Errorf("no warning:\n%s", g.logs)
	}
}
