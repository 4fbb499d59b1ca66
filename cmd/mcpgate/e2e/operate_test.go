package e2e_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// authority signs the certificates of a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key, cert: &x509.Certificate{
		// Without names a certificate looks as if it had signed itself.
		Subject:      pkix.Name{CommonName: "authority"},
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

// issue returns a certificate for 127.0.0.1 and its key, PEM.
func (a *authority) issue(serial int64) (cert, key []byte) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		Subject:      pkix.Name{CommonName: "gateway"},
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, private.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// serial is that of the certificate that the gateway shows on a new
// connection.
func (g *gateway) serial(pool *x509.CertPool) int64 {
	conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: pool}}).DialContext(g.Context(), "tcp", g.address)
	if err != nil {
		return 0
	}
	defer conn.Close() //nolint:errcheck // nothing was sent
	tc, ok := conn.(*tls.Conn)
	if !ok {
		return 0
	}
	return tc.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// The certificate comes from files and is renewed from them without a restart
// and without the end of a stream; a pair that does not fit leaves the old one
// in place. Neither the key nor any other secret is in a dump.
func TestCertificateRenewal(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	g := prepare(t)
	certFile, keyFile := filepath.Join(g.dir, "cert.pem"), filepath.Join(g.dir, "key.pem")
	secretFile := filepath.Join(g.dir, "upstream-secret")
	const secret = "s3cr3t-of-the-upstream"
	cert, key := ca.issue(101)
	g.write(certFile, string(cert))
	g.write(keyFile, string(key))
	g.write(secretFile, secret+"\n")
	g.url = "https://" + g.address
	g.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.pool()}, DisableCompression: true}
	g.configure(fmt.Sprintf("  tls: {certFile: %s, keyFile: %s}\n", certFile, keyFile))
	g.startProgram()
	g.applyIssuer()
	streaming := newEcho("streaming")
	got := make(chan string, 1)
	g.apply(everything + serverDoc("streaming", serve(t, streaming)) + fmt.Sprintf(`---
kind: Server
name: private
upstream: {url: %s/mcp, credential: {scheme: Bearer, secret: "file:%s"}}
`, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("Authorization")
		newEcho("private").ServeHTTP(w, r)
	})), secretFile))
	token := g.token("alice", "all")
	g.want("private", token, http.StatusOK)
	if auth := <-got; auth != "Bearer "+secret {
		t.Errorf("the upstream got the credential %q", auth)
	}
	events := g.open(t, "streaming", token)
	if s := g.serial(ca.pool()); s != 101 {
		t.Fatalf("certificate %d, want 101", s)
	}

	_, wrong := ca.issue(102)
	g.write(keyFile, string(wrong))
	g.eventually("the pair that does not fit is reported", func() bool {
		return strings.Contains(g.logs.String(), "certificate not renewed")
	})
	if s := g.serial(ca.pool()); s != 101 {
		t.Errorf("certificate %d after a pair that does not fit, want 101", s)
	}
	cert, key = ca.issue(103)
	g.write(keyFile, string(key))
	g.write(certFile, string(cert))
	g.eventually("the new certificate is shown", func() bool { return g.serial(ca.pool()) == 103 })
	streaming.emit(t, "still here")
	events.want("still here")
	g.want("streaming", token, http.StatusOK)

	block, _ := pem.Decode(key)
	for _, args := range [][]string{{"xds", "dump"}, {"xds", "dump", "-o", "json"}, {"export"}, {"get", "servers", "-o", "yaml"}, {"status", "-o", "json"}, {"config", "show"}} {
		out := g.mustRun("", args...)
		for name, hidden := range map[string]string{
			"key": strings.Split(string(key), "\n")[1], "key block": "PRIVATE KEY", "key bytes": string(block.Bytes[:16]), "secret": secret, "token": token,
		} {
			if strings.Contains(out, hidden) {
				t.Errorf("mcpgate %s shows the %s", strings.Join(args, " "), name)
			}
		}
	}
	if strings.Contains(g.logs.String(), secret) || strings.Contains(g.logs.String(), token) {
		t.Error("the log shows a secret")
	}
	if dump := g.mustRun("", "xds", "dump"); !strings.Contains(dump, "s-private@") || !strings.Contains(dump, "ScopedRouteConfiguration") {
		t.Errorf("the dump lacks what Envoy has:\n%s", dump)
	}
}

// Every decision is one line of the audit file, findable by the request id
// that the client got; no token is in it.
func TestAudit(t *testing.T) {
	t.Parallel()
	g := prepare(t)
	file := filepath.Join(g.dir, "audit.jsonl")
	g.configure("audit: {path: " + file + "}\n")
	g.startProgram()
	g.applyIssuer()
	g.apply(serverDoc("weather", sample(t, "weather", false)) + weatherPolicy("weather"))
	token := g.token("alice", "weather:read")
	type line struct {
		ID     string `json:"request_id"`
		Server string `json:"server"`
		Method string `json:"method"`
		Target string `json:"target"`
		Issuer string `json:"issuer"`
		Who    string `json:"subject"`
		Effect string `json:"effect"`
		Rule   string `json:"rule"`
		Grant  string `json:"grant"`
		Status int    `json:"status"`
	}
	allow := g.post("weather", token, call("get_forecast"))
	deny := g.post("weather", token, call("set_alert"))
	none := g.post("weather", "", call("set_alert"))
	want := map[string]line{
		allow.header.Get("X-Request-Id"): {Server: "weather", Method: "tools/call", Target: "get_forecast", Issuer: "corp", Who: "alice", Effect: "allow", Rule: "granted", Grant: "weather:read"},
		deny.header.Get("X-Request-Id"):  {Server: "weather", Method: "tools/call", Target: "set_alert", Issuer: "corp", Who: "alice", Effect: "deny", Rule: "scope-insufficient", Status: 403},
		none.header.Get("X-Request-Id"):  {Server: "weather", Effect: "deny", Rule: "token-missing", Status: 401},
	}
	g.stop()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), token) || strings.Contains(string(b), "Oslo") {
		t.Errorf("the audit file has what it must not:\n%s", b)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the audit file: %v %v", info.Mode(), err)
	}
	got := map[string]line{}
	for lines := bufio.NewScanner(strings.NewReader(string(b))); lines.Scan(); {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatalf("%v in %s", err, lines.Text())
		}
		id := l.ID
		l.ID = ""
		got[id] = l
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}

// status shows the Envoy, what it has accepted, and the issuers.
func TestStatus(t *testing.T) {
	t.Parallel()
	g := start(t, "")
	g.apply(everything + serverDoc("weather", sample(t, "weather", false)) + "---\nkind: Issuer\nname: down\nissuer: http://127.0.0.1:9\n")
	g.want("weather", g.token("alice", "all"), http.StatusOK)
	type issuer struct {
		Name      string `json:"name"`
		Usable    bool   `json:"usable"`
		Keys      int    `json:"keys"`
		LastError string `json:"lastError"`
	}
	var s struct {
		Revision int64  `json:"revision"`
		URL      string `json:"url"`
		Envoys   []struct {
			Node     string `json:"node"`
			Version  string `json:"version"`
			Revision int64  `json:"revision"`
		} `json:"envoys"`
		Rejections []any    `json:"rejections"`
		Issuers    []issuer `json:"issuers"`
	}
	g.eventually("the issuer that is down is known to be", func() bool {
		if err := json.Unmarshal([]byte(g.mustRun("", "status", "-o", "json")), &s); err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(s.Issuers, func(i issuer) bool { return i.Name == "down" && i.LastError != "" })
	})
	if s.URL != g.url || len(s.Envoys) != 1 || s.Envoys[0].Revision != s.Revision || s.Envoys[0].Version == "" || len(s.Rejections) != 0 {
		t.Errorf("status: %+v", s)
	}
	for _, i := range s.Issuers {
		if i.Usable != (i.Name == "corp") || (i.Keys > 0) != i.Usable {
			t.Errorf("issuer: %+v", i)
		}
	}
	table := g.mustRun("", "status")
	for _, word := range []string{"ENVOY", "ISSUER", "corp", "down", g.issuer.URL, "false"} {
		if !strings.Contains(table, word) {
			t.Errorf("status lacks %q:\n%s", word, table)
		}
	}
}
