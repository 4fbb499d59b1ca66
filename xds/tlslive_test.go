package xds_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/xds"
)

// authority is a certificate authority for a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t testing.TB, dir, name string) *authority {
	t.Helper()
	a := &authority{t: t, key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), file: filepath.Join(dir, name+".pem")}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key))
	a.cert = must(x509.ParseCertificate(der))
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// serve starts an https upstream whose certificate is for the names and
// addresses. Its answers say which SNI and protocol it saw.
func (a *authority) serve(maxVersion uint16, names ...string) *httptest.Server {
	a.t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "up"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der := must(x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key))
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sni := r.TLS.ServerName
		if sni == "" {
			sni = "-"
		}
		w.Header().Set("X-Seen", strings.Join([]string{sni, tls.VersionName(r.TLS.Version), r.Proto, r.Host}, " "))
	}))
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.TLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		MinVersion:   tls.VersionTLS10, MaxVersion: maxVersion,
	}
	srv.StartTLS()
	a.t.Cleanup(srv.Close)
	return srv
}

func TestLiveUpstreamTLSIsAlwaysVerified(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, foreign := newAuthority(t, dir, "ca"), newAuthority(t, dir, "foreign")
	named := ca.serve(0, "up.example", "localhost")
	wildcard := ca.serve(0, "*.example")
	byIP := ca.serve(0, "127.0.0.1")
	old := ca.serve(tls.VersionTLS11, "localhost")
	local := func(s *httptest.Server) string { return strings.Replace(s.URL, "127.0.0.1", "localhost", 1) }

	type row struct {
		name, url, serverName, ca string
		seen                      string // "" means 502
	}
	rows := []row{
		{"host-name", local(named), "", ca.file, "localhost TLS 1.3 HTTP/2.0 " + local(named)[8:]},
		{"server-name", named.URL, "up.example", ca.file, "up.example TLS 1.3 HTTP/2.0 " + named.URL[8:]},
		{"server-name-case", named.URL, "UP.Example.", ca.file, "up.example TLS 1.3 HTTP/2.0 " + named.URL[8:]},
		{"wildcard", wildcard.URL, "up.example", ca.file, "up.example TLS 1.3 HTTP/2.0 " + wildcard.URL[8:]},
		{"address", byIP.URL, "", ca.file, "- TLS 1.3 HTTP/2.0 " + byIP.URL[8:]},
		{"server-name-address", local(byIP), "127.0.0.1", ca.file, "- TLS 1.3 HTTP/2.0 " + local(byIP)[8:]},
		{"address-not-in-it", named.URL, "", ca.file, ""},
		{"wrong-name", named.URL, "other.example", ca.file, ""},
		{"wildcard-two-levels", wildcard.URL, "a.b.example", ca.file, ""},
		{"name-not-address", local(byIP), "", ca.file, ""},
		{"foreign-ca", local(named), "", foreign.file, ""},
		{"old-tls", local(old), "", ca.file, ""},
	}
	var servers []*registry.Server
	for _, r := range rows {
		s := server(r.name, 1, r.url)
		s.Upstream.TLS = &registry.TLS{CAFile: r.ca, ServerName: r.serverName}
		servers = append(servers, s)
	}
	// Without a file of its own a server gets the system's, here the foreign one.
	servers = append(servers, server("system-ca", 1, local(named)))
	rows = append(rows, row{name: "system-ca"})

	g := startGateway(t, xds.Config{SystemCAFile: foreign.file}, servers...)
	for _, r := range rows {
		got := g.do("POST", "/"+r.name+"/mcp", "x-test-route: plain:"+r.name+"@1")
		want := http.StatusOK
		if r.seen == "" {
			want = http.StatusBadGateway
		}
		if got.StatusCode != want || got.Header.Get("X-Seen") != r.seen {
			t.Errorf("%s: %d %q, want %d %q; %s", r.name, got.StatusCode, got.Header.Get("X-Seen"), want, r.seen, got.body)
		}
		if want != http.StatusOK && strings.Contains(got.body, "TLS") {
			t.Errorf("%s: the body shows the reason: %s", r.name, got.body)
		}
	}
}
