package envoy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/envoy"
	"github.com/mcpgate/mcpgate/envoy/envoytest"
)

var update = flag.Bool("update", false, "write the goldens anew")

// sockets is the bootstrap of an Envoy on the program's machine.
var sockets = envoy.Bootstrap{NodeID: "gw-1", XDSAddress: "unix:xds.sock", AuthzAddress: "unix:authz.sock", WebAddress: "unix:web.sock"}

// remote is the bootstrap of an Envoy elsewhere.
var remote = envoy.Bootstrap{
	NodeID: "gw-2", Cluster: "eu", XDSAddress: "mcpgate.internal:18000", AuthzAddress: "10.0.0.1:18001", WebAddress: "[2001:db8::1]:18002",
	TLS:         &envoy.TLS{CAFile: "ca.pem", CertFile: "cert.pem", KeyFile: "key.pem"},
	AdminListen: "127.0.0.1:9901", MaxHeapBytes: 4 << 30, MaxConnections: 1000,
}

func TestBootstrapGoldens(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]envoy.Bootstrap{"sockets": sockets, "remote": remote} {
		got, err := b.YAML()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", "bootstrap-"+name+".yaml")
		if *update {
			if err := os.WriteFile(path, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got); after a look run with -update:\n%s", name, diff)
		}
	}
}

func TestBootstrapIsAcceptedByEnvoy(t *testing.T) {
	t.Parallel()
	y, err := sockets.YAML()
	if err != nil {
		t.Fatal(err)
	}
	envoytest.Validate(t, y)

	dir := t.TempDir()
	withFiles := remote
	files := writePair(t, dir)
	withFiles.TLS = &files
	if y, err = withFiles.YAML(); err != nil {
		t.Fatal(err)
	}
	envoytest.Validate(t, y)
}

func TestEnvoyIsNotReadyAndDoesNotListenWithoutAControlPlane(t *testing.T) {
	t.Parallel()
	y, err := sockets.YAML()
	if err != nil {
		t.Fatal(err)
	}
	e := envoytest.Start(t, y)
	for _, name := range []string{"xds", "authz", "proc", "web", "no-decision"} {
		if !strings.Contains(e.Get("/clusters"), name+"::") {
			t.Errorf("envoy has no cluster %s", name)
		}
	}
	if got := e.Get("/server_info"); !strings.Contains(got, `"state": "INITIALIZING"`) && !strings.Contains(got, `"state": "PRE_INITIALIZING"`) {
		t.Errorf("envoy is not waiting: %s", got)
	}
	if got := e.Get("/listeners"); got != "" {
		t.Errorf("envoy listens: %s", got)
	}
}

// TestDeadEndIsStaticAndEmpty guards what every refusal rests on.
func TestDeadEndIsStaticAndEmpty(t *testing.T) {
	t.Parallel()
	m, err := sockets.Proto()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range m.GetStaticResources().GetClusters() {
		if c.GetName() == "no-decision" && c.GetType() == clusterv3.Cluster_STATIC && len(c.GetLoadAssignment().GetEndpoints()) == 0 {
			return
		}
	}
	t.Error("no static cluster no-decision without endpoints")
}

func TestBootstrapWaitsForTheControlPlaneForEver(t *testing.T) {
	t.Parallel()
	m, err := sockets.Proto()
	if err != nil {
		t.Fatal(err)
	}
	d := m.GetDynamicResources()
	if cds, lds := d.GetCdsConfig().GetInitialFetchTimeout(), d.GetLdsConfig().GetInitialFetchTimeout(); cds == nil || cds.AsDuration() != 0 || lds == nil || lds.AsDuration() != 0 {
		t.Errorf("initial fetch timeouts %v and %v", cds, lds)
	}
}

func TestBootstrapRefusesBadSettings(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*envoy.Bootstrap){
		"no xds":                   func(b *envoy.Bootstrap) { b.XDSAddress = "" },
		"no authz":                 func(b *envoy.Bootstrap) { b.AuthzAddress = "" },
		"no web":                   func(b *envoy.Bootstrap) { b.WebAddress = "" },
		"empty socket":             func(b *envoy.Bootstrap) { b.XDSAddress = "unix:" },
		"no port":                  func(b *envoy.Bootstrap) { b.XDSAddress = "10.0.0.1" },
		"port 0":                   func(b *envoy.Bootstrap) { b.XDSAddress = "10.0.0.1:0" },
		"big port":                 func(b *envoy.Bootstrap) { b.XDSAddress = "10.0.0.1:65536" },
		"no host":                  func(b *envoy.Bootstrap) { b.XDSAddress = ":18000" },
		"admin on the network":     func(b *envoy.Bootstrap) { b.AdminListen = "10.0.0.1:9901" },
		"admin on every interface": func(b *envoy.Bootstrap) { b.AdminListen = "0.0.0.0:9901" },
		"admin at a name":          func(b *envoy.Bootstrap) { b.AdminListen = "example.com:9901" },
		"TLS without CA":           func(b *envoy.Bootstrap) { b.TLS = &envoy.TLS{CertFile: "c", KeyFile: "k"} },
		"TLS without key":          func(b *envoy.Bootstrap) { b.TLS = &envoy.TLS{CAFile: "ca", CertFile: "c"} },
	} {
		b := remote
		change(&b)
		if y, err := b.YAML(); err == nil {
			t.Errorf("%s: accepted as\n%s", name, y)
		}
	}
}

func TestBootstrapNamesEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := envoy.Bootstrap{AdminListen: "1.2.3.4:1"}.YAML()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range []string{"admin", "cluster xds", "cluster authz", "cluster web"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
}

// writePair writes a certificate that is its own authority, and its key.
func writePair(t *testing.T, dir string) envoy.TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert := write("cert.pem", "CERTIFICATE", der)
	return envoy.TLS{CAFile: cert, CertFile: cert, KeyFile: write("key.pem", "PRIVATE KEY", keyDER)}
}
