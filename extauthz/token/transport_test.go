package token

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/registry"
)

// TestRealTransport runs the whole way over a loopback socket: discovery, key
// set, token.
func TestRealTransport(t *testing.T) {
	t.Parallel()
	f := &fixture{TB: t, key: rsaKey("k1", 0)}
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	mux.Handle("/.well-known/openid-configuration", body(string(mustJSON(obj{"issuer": srv.URL, "jwks_uri": srv.URL + "/jwks"}))))
	mux.Handle("/jwks", body(string(mustJSON(obj{"keys": []obj{f.key.jwk()}}))))
	f.Verifier = New(Config{})
	t.Cleanup(f.Close)
	f.SetIssuer(&registry.Issuer{Name: "local", Issuer: srv.URL})
	if c := f.accept(f.key.mint(f.claims("iss", srv.URL))); c.Issuer != "local" {
		t.Errorf("caller %+v", c)
	}
}

// TestTransportLimits: what a misbehaving issuer can do to a fetch.
func TestTransportLimits(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("followed a redirect")
	}))
	t.Cleanup(elsewhere.Close)
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    string // in the error
	}{
		{"at the limit", body(strings.Repeat(" ", maxDocument)), ""},
		{"above the limit", body(strings.Repeat(" ", maxDocument+1)), "more than"},
		{"10 MB", body(strings.Repeat(" ", 10<<20)), "more than"},
		{"redirect inside", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, "status 302"},
		{"permanent redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusPermanentRedirect)
		}, "status 308"},
		{"404", http.NotFound, "status 404"},
		{"201", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }, "status 201"},
		{"large header", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 2*maxHeader)) }, "header"},
		{"gzip is not asked for", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "" {
				w.WriteHeader(http.StatusNotAcceptable)
			}
		}, ""},
		{"closed in the middle", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
		}, "unexpected EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(tt.handler)
			defer srv.Close()
			_, err := newFetcher(nil).get(t.Context(), srv.URL, true)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestSlowDripEndsWithTheDeadline(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"keys":[`)
		_ = http.NewResponseController(w).Flush()
		<-release
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(release) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := newFetcher(nil).get(ctx, srv.URL, true); err == nil {
		t.Error("no error")
	}
}

func TestCertificatesAreVerified(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(body("{}"))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	_, err := newFetcher(nil).get(t.Context(), srv.URL, true)
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("error %v", err)
	}
}

// TestNameThatResolvesToLoopback: a name does not lead a fetch for an outside
// issuer to this machine.
func TestNameThatResolvesToLoopback(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // a test's
	transport, ok := guardedTransport(checkOutside).(*http.Transport)
	if !ok {
		t.Fatal("another transport")
	}
	// "localhost" stands for any name that resolves to 127.0.0.1.
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_, err = transport.DialContext(t.Context(), "tcp", net.JoinHostPort("localhost", port))
	if err == nil || !strings.Contains(err.Error(), "not one of an issuer") {
		t.Errorf("error %v", err)
	}
	transport, _ = guardedTransport(checkLoopback).(*http.Transport)
	conn, err := transport.DialContext(t.Context(), "tcp", net.JoinHostPort("localhost", port))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]struct{ outside, loopback bool }{
		"https://as.example.com/jwks":    {true, true},
		"https://10.0.0.7/jwks":          {true, true},
		"http://as.example.com/jwks":     {false, false},
		"http://10.0.0.7/jwks":           {false, false},
		"http://localhost:9000/jwks":     {false, true},
		"http://127.0.0.1:9000/jwks":     {false, true},
		"http://127.9.9.9/jwks":          {false, true},
		"http://[::1]:9000/jwks":         {false, true},
		"http://[::ffff:127.0.0.1]/jwks": {false, true},
		"https://localhost/jwks":         {false, true},
		"http://localhost.evil.com/jwks": {false, false},
		"http://127.0.0.1.evil.com/jwks": {false, false},
		"https://u:p@as.example.com":     {false, false},
		"ftp://as.example.com":           {false, false},
		"file:///etc/passwd":             {false, false},
		"//as.example.com":               {false, false},
		"https:as.example.com":           {false, false},
		"":                               {false, false},
		"https://as.example.com:x":       {false, false},
	} {
		for _, ofLoopback := range []bool{false, true} {
			ok := want.outside
			if ofLoopback {
				ok = want.loopback
			}
			if _, err := parseURL(raw, ofLoopback); (err == nil) != ok {
				t.Errorf("%s for a loopback issuer %t: %v", raw, ofLoopback, err)
			}
		}
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		"93.184.216.34":          true,
		"10.1.2.3":               true, // private: identity providers live there
		"192.168.1.1":            true,
		"172.16.0.1":             true,
		"100.64.0.1":             true,
		"fd12::1":                true,
		"2606:2800::1":           true,
		"64:ff9b::5db8:d822":     true, // NAT64 of 93.184.216.34
		"127.0.0.1":              false,
		"127.255.0.1":            false,
		"::1":                    false,
		"::ffff:127.0.0.1":       false,
		"::127.0.0.1":            false,
		"64:ff9b::7f00:1":        false, // NAT64 of 127.0.0.1
		"2002:7f00:1::":          false, // 6to4 of 127.0.0.1
		"2002:a9fe:a9fe::":       false, // 6to4 of 169.254.169.254
		"64:ff9b::a9fe:a9fe":     false,
		"::ffff:169.254.169.254": false,
		"169.254.169.254":        false,
		"fe80::1%eth0":           false,
		"fec0::1":                false,
		"fd00:ec2::254":          false,
		"100.100.100.200":        false,
		"168.63.129.16":          false,
		"::ffff:100.100.100.200": false,
		"fec0::1%eth0":           false,
		"192.0.0.192":            false,
		"0.0.0.0":                false,
		"0.1.2.3":                false,
		"::":                     false,
		"224.0.0.1":              false,
		"ff02::1":                false,
		"255.255.255.255":        false,
		"2001:0:1::1":            false,
	} {
		a := netip.MustParseAddr(address)
		if err := checkOutside(a); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestPlainHTTPIsForLoopbackIssuersOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.RemoveIssuer("corp")
	const plain = "http://as.example.com/jwks"
	f.idp.serveKeys(plain, f.key.jwk())
	f.SetIssuer(corp(func(i *registry.Issuer) { i.JWKSURI = plain }))
	f.refuse(f.key.mint(f.claims()), extauthz.RuleKeysUnavailable)
	if f.idp.fetches(plain) > 0 {
		t.Error("fetched")
	}
}
