package authserver

import (
	"context"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T) *Client {
	t.Helper()
	c := New(nil)
	t.Cleanup(c.Close)
	return c
}

// body answers with the text.
func body(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

// TestPostAuthenticatesAsTheStandardSays: RFC 6749 section 2.3.1 encodes the
// id and the secret before they are joined by a colon.
func TestPostAuthenticatesAsTheStandardSays(t *testing.T) {
	t.Parallel()
	type seen struct {
		Method, ContentType, Accept, Authorization string
		Form                                       url.Values
	}
	var got seen
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		got = seen{r.Method, r.Header.Get("Content-Type"), r.Header.Get("Accept"), r.Header.Get("Authorization"), r.PostForm}
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":"invalid_grant"}`)
	}))
	t.Cleanup(srv.Close)
	answer, err := newClient(t).Post(t.Context(), srv.URL+"/token?tenant=a", url.Values{"token": {"a b&c=d"}}, "gate way:1", "p%:ä ")
	if err != nil {
		t.Fatal(err)
	}
	want := seen{
		"POST", "application/x-www-form-urlencoded", "application/json",
		"Basic " + base64.StdEncoding.EncodeToString([]byte("gate+way%3A1:p%25%3A%C3%A4+")),
		url.Values{"token": {"a b&c=d"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(Answer{400, []byte(`{"error":"invalid_grant"}`)}, answer); diff != "" {
		t.Errorf("answer (-want +got)\n%s", diff)
	}
}

func TestPostFollowsNoRedirectAndBoundsTheAnswer(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed a redirect") }))
	t.Cleanup(elsewhere.Close)
	mux := http.NewServeMux()
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/large", body(strings.Repeat(" ", MaxAnswer+1)))
	mux.HandleFunc("/limit", body(strings.Repeat(" ", MaxAnswer)))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	c := newClient(t)
	if a, err := c.Post(t.Context(), srv.URL+"/redirect", nil, "id", "secret"); err != nil || a.Status != http.StatusTemporaryRedirect {
		t.Errorf("redirect: %v, %v", a.Status, err)
	}
	if _, err := c.Post(t.Context(), srv.URL+"/large", nil, "id", "secret"); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("above the limit: %v", err)
	}
	if a, err := c.Post(t.Context(), srv.URL+"/limit", nil, "id", "secret"); err != nil || len(a.Body) != MaxAnswer {
		t.Errorf("at the limit: %d bytes, %v", len(a.Body), err)
	}
	for _, raw := range []string{"http://as.example.com/token", "ftp://localhost", "https://u:p@localhost"} {
		if _, err := c.Post(t.Context(), raw, nil, "id", "secret"); err == nil {
			t.Errorf("%s was posted to", raw)
		}
	}
}

// TestPostErrorsCarryNoSecret: what went wrong is for the log; the token and
// the secret are not.
func TestPostErrorsCarryNoSecret(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(body(""))
	srv.Close()
	_, err := newClient(t).Post(t.Context(), srv.URL, url.Values{"token": {"hunter2"}}, "id", "hunter2")
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v", err)
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
		{"at the limit", body(strings.Repeat(" ", MaxDocument)), ""},
		{"above the limit", body(strings.Repeat(" ", MaxDocument+1)), "more than"},
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
			_, err := newClient(t).Get(t.Context(), srv.URL, true)
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
	if _, err := newClient(t).Get(ctx, srv.URL, true); err == nil {
		t.Error("no error")
	}
}

func TestCertificatesAreVerified(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(body("{}"))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	_, err := newClient(t).Get(t.Context(), srv.URL, true)
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
	transport := guardedTransport(checkOutside)
	// "localhost" stands for any name that resolves to 127.0.0.1.
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_, err = transport.DialContext(t.Context(), "tcp", net.JoinHostPort("localhost", port))
	if err == nil || !strings.Contains(err.Error(), "not one of an authorization server") {
		t.Errorf("error %v", err)
	}
	transport = guardedTransport(checkLoopback)
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
			if _, err := ParseURL(raw, ofLoopback); (err == nil) != ok {
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
