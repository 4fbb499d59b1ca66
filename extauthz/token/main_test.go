package token

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	corpURL  = "https://as.example.com/realms/corp"
	corpJWKS = "https://as.example.com/jwks"
	audience = "https://gw.example.com/weather/mcp"
)

type obj = map[string]any

// testKey is a private key with its kid and the algorithm it signs with.
type testKey struct {
	kid, alg string
	private  crypto.Signer
}

var rsaKeys = [3]func() *rsa.PrivateKey{
	sync.OnceValue(func() *rsa.PrivateKey { return mustRSA(2048) }),
	sync.OnceValue(func() *rsa.PrivateKey { return mustRSA(2048) }),
	sync.OnceValue(func() *rsa.PrivateKey { return mustRSA(1024) }),
}

func mustRSA(bits int) *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return k
}

func rsaKey(kid string, n int) testKey { return testKey{kid, "RS256", rsaKeys[n]()} }

func ecKey(kid, alg string, curve elliptic.Curve) testKey {
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	return testKey{kid, alg, k}
}

func edKey(kid string) testKey {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return testKey{kid, "EdDSA", k}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwk is the public JWK, without `alg` and `use`.
func (k testKey) jwk(extra ...any) obj {
	var m obj
	switch p := k.private.Public().(type) {
	case *rsa.PublicKey:
		m = obj{"kty": "RSA", "n": b64(p.N.Bytes()), "e": b64(big.NewInt(int64(p.E)).Bytes())}
	case *ecdsa.PublicKey:
		raw, err := p.Bytes()
		if err != nil {
			panic(err)
		}
		n := (len(raw) - 1) / 2
		m = obj{"kty": "EC", "crv": p.Curve.Params().Name, "x": b64(raw[1 : 1+n]), "y": b64(raw[1+n:])}
	case ed25519.PublicKey:
		m = obj{"kty": "OKP", "crv": "Ed25519", "x": b64(p)}
	}
	if k.kid != "" {
		m["kid"] = k.kid
	}
	for i := 0; i < len(extra); i += 2 {
		m[fmt.Sprint(extra[i])] = extra[i+1]
	}
	return m
}

// sign makes a JWS signature.
func (k testKey) sign(input []byte) []byte {
	var h crypto.Hash
	switch k.alg[2:] {
	case "256":
		h = crypto.SHA256
	case "384":
		h = crypto.SHA384
	case "512":
		h = crypto.SHA512
	}
	var opts crypto.SignerOpts = h
	if k.alg[:2] == "PS" {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: h}
	}
	data := input
	if h != 0 {
		w := h.New()
		w.Write(input)
		data = w.Sum(nil)
	}
	if p, ok := k.private.(*ecdsa.PrivateKey); ok {
		r, s, err := ecdsa.Sign(rand.Reader, p, data)
		if err != nil {
			panic(err)
		}
		return rawSignature(p.Curve, r, s)
	}
	sig, err := k.private.Sign(rand.Reader, data, opts)
	if err != nil {
		panic(err)
	}
	return sig
}

func rawSignature(c elliptic.Curve, r, s *big.Int) []byte {
	n := (c.Params().BitSize + 7) / 8
	return append(r.FillBytes(make([]byte, n)), s.FillBytes(make([]byte, n))...)
}

func hmacSHA256(key, input []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(input)
	return h.Sum(nil)
}

// compact signs header and claims as they stand.
func compact(header, claims []byte, sign func([]byte) []byte) string {
	input := b64(header) + "." + b64(claims)
	return input + "." + b64(sign([]byte(input)))
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// mint makes a token with the usual header and the claims.
func (k testKey) mint(claims obj) string {
	return compact(mustJSON(k.header()), mustJSON(claims), k.sign)
}

func (k testKey) header() obj {
	h := obj{"alg": k.alg, "typ": "at+jwt"}
	if k.kid != "" {
		h["kid"] = k.kid
	}
	return h
}

// idp answers for issuers without a network. Documents are found by URL.
type idp struct {
	mu      sync.Mutex
	answers map[string]http.HandlerFunc
	calls   map[string]int
}

func newIDP() *idp {
	return &idp{answers: make(map[string]http.HandlerFunc), calls: make(map[string]int)}
}

func (i *idp) serve(url string, h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answers[url] = h
}

func (i *idp) serveJSON(url string, v any) {
	i.serve(url, body(string(mustJSON(v))))
}

func (i *idp) serveKeys(url string, keys ...obj) { i.serveJSON(url, obj{"keys": keys}) }

// body answers with the text.
func body(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func (i *idp) serveStatus(url string, status int) {
	i.serve(url, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
}

func (i *idp) fetches(url string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.calls[url]
}

func (i *idp) all() map[string]int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return maps.Clone(i.calls)
}

// RoundTrip implements http.RoundTripper.
func (i *idp) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.calls[r.URL.String()]++
	h := i.answers[r.URL.String()]
	i.mu.Unlock()
	if h == nil {
		return nil, errors.New("connection refused")
	}
	w := &recorder{header: make(http.Header), status: http.StatusOK}
	h(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: w.status, Header: w.header, Request: r,
		Body: io.NopCloser(&w.body), ContentLength: -1,
	}, nil
}

type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) Write(b []byte) (int, error) { return w.body.Write(b) }
func (w *recorder) WriteHeader(status int)      { w.status = status }

// clock is a wall clock that only moves when told.
type clock struct{ at atomic.Pointer[time.Time] }

func newClock() *clock {
	c := &clock{}
	c.set(time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC))
	return c
}

func (c *clock) now() time.Time      { return *c.at.Load() }
func (c *clock) set(t time.Time)     { c.at.Store(&t) }
func (c *clock) add(d time.Duration) { c.set(c.now().Add(d)) }

// fixture is a Verifier with the issuer corp, whose key set has one RSA key.
type fixture struct {
	testing.TB
	*Verifier
	idp   *idp
	clock *clock
	key   testKey
}

func newFixture(tb testing.TB, change ...func(*registry.Issuer)) *fixture {
	tb.Helper()
	f := &fixture{TB: tb, idp: newIDP(), clock: newClock(), key: rsaKey("k1", 0)}
	f.idp.serveKeys(corpJWKS, f.key.jwk())
	f.Verifier = New(Config{Transport: f.idp, Now: f.clock.now, Secrets: secrets{}})
	tb.Cleanup(f.Close)
	f.SetIssuer(corp(change...))
	return f
}

// secrets resolves every reference to a secret that says which it is.
type secrets struct{}

func (secrets) Resolve(ref registry.SecretRef) (string, error) {
	if ref == "env:UNSET" {
		return "", errors.New("secret env:UNSET: variable is not set")
	}
	return "secret of " + string(ref), nil
}

func corp(change ...func(*registry.Issuer)) *registry.Issuer {
	i := &registry.Issuer{Name: "corp", Issuer: corpURL, JWKSURI: corpJWKS}
	for _, c := range change {
		c(i)
	}
	return i
}

// claims are those of a good token.
func claims(now time.Time) obj {
	return obj{
		"iss": corpURL, "sub": "alice", "aud": audience, "client_id": "inspector",
		"scope": "weather:read weather:write", "jti": "t-1",
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
}

func (f *fixture) claims(extra ...any) obj {
	c := claims(f.now())
	for i := 0; i < len(extra); i += 2 {
		name := fmt.Sprint(extra[i])
		if extra[i+1] == nil {
			delete(c, name)
			continue
		}
		c[name] = extra[i+1]
	}
	return c
}

// verify verifies for the weather server.
func (f *fixture) verify(raw string) (*extauthz.Caller, error) {
	f.Helper()
	return f.Verify(f.Context(), raw, Want{Audiences: []string{audience}})
}

func (f *fixture) accept(raw string) *extauthz.Caller {
	f.Helper()
	c, err := f.verify(raw)
	if err != nil {
		f.Fatalf("refused: %v", err)
	}
	return c
}

func (f *fixture) refuse(raw string, rule extauthz.Rule) {
	f.Helper()
	c, err := f.verify(raw)
	wantRefusal(f, c, err, rule)
}

func wantRefusal(tb testing.TB, c *extauthz.Caller, err error, rule extauthz.Rule) {
	tb.Helper()
	var e *Error
	if !errors.As(err, &e) || c != nil {
		tb.Fatalf("got caller %v, error %v; want a refusal by %s", c, err, rule)
	}
	if e.Rule != rule {
		tb.Fatalf("refused by %s (%s), want %s", e.Rule, e.Reason, rule)
	}
	status := http.StatusUnauthorized
	if e.Unavailable {
		status = http.StatusServiceUnavailable
	}
	if got := rule.Answer().Status; got != status {
		tb.Errorf("unavailable is %t, and %s answers %d", e.Unavailable, rule, got)
	}
}
