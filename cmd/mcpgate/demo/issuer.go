package demo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"time"
)

// Issuer signs access tokens (RFC 9068, ES256) with a key made at its start,
// and publishes the key and its metadata (RFC 8414) over HTTP.
type Issuer struct {
	// URL is the issuer identifier, the `iss` of its tokens.
	URL string
	key *ecdsa.PrivateKey
}

const keyID = "demo"

// NewIssuer returns an issuer that will be served at url.
func NewIssuer(url string) (*Issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make issuer key: %w", err)
	}
	return &Issuer{URL: url, key: key}, nil
}

// Claims are further claims of a token, or replacements of those that Token
// sets.
type Claims map[string]any

// Token signs an access token for the subject and the resource. It holds for
// an hour unless claims say otherwise.
func (i *Issuer) Token(subject, resource string, claims Claims) (string, error) {
	now := time.Now()
	all := Claims{
		"iss": i.URL, "sub": subject, "aud": resource, "client_id": "demo",
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "jti": rand.Text(),
	}
	maps.Copy(all, claims)
	payload, err := json.Marshal(all)
	if err != nil {
		return "", fmt.Errorf("encode claims: %w", err)
	}
	input := b64([]byte(`{"alg":"ES256","typ":"at+jwt","kid":"`+keyID+`"}`)) + "." + b64(payload)
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, digest[:])
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	// RFC 7518 section 3.4: R and S as fixed 32-byte big-endian integers.
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + b64(signature), nil
}

// Handler serves the metadata document and the key set.
func (i *Issuer) Handler() (http.Handler, error) {
	point, err := i.key.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode issuer key: %w", err)
	}
	documents := map[string]any{
		"/.well-known/oauth-authorization-server": map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + "/jwks", "response_types_supported": []string{"code"},
		},
		"/jwks": map[string]any{"keys": []any{map[string]string{
			// point is 0x04, X, Y (SEC 1 section 2.3.3).
			"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": keyID,
			"x": b64(point[1:33]), "y": b64(point[33:]),
		}}},
	}
	mux := http.NewServeMux()
	for path, doc := range documents {
		body, err := json.Marshal(doc)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", path, err)
		}
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			// The client may be gone; there is nobody left to tell.
			_, _ = w.Write(body)
		})
	}
	return mux, nil
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
