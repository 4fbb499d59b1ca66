package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	jwxjws "github.com/lestrrat-go/jwx/v2/jws"
)

// Bounds of an RSA key. Below 2048 bits RFC 7518 section 3.3 forbids it, above
// 8192 each signature would cost too much; smaller exponents are legal, rare
// and have a history.
const (
	minRSABits     = 2048
	maxRSABits     = 8192
	minRSAExponent = 65537
)

// edDSA and ed25519Name name one algorithm: the first of RFC 8037, the second
// its fully specified name of RFC 9864, which jwx does not know.
const (
	edDSA       = string(jwa.EdDSA)
	ed25519Name = "Ed25519"
)

// supported reports whether an algorithm can be verified here at all. Symmetric
// ones cannot, nor "none", whatever an Issuer lists.
func supported(alg string) bool {
	switch jwa.SignatureAlgorithm(alg) {
	case jwa.RS256, jwa.RS384, jwa.RS512, jwa.PS256, jwa.PS384, jwa.PS512,
		jwa.ES256, jwa.ES384, jwa.ES512, jwa.EdDSA, ed25519Name:
		return true
	case jwa.ES256K, jwa.HS256, jwa.HS384, jwa.HS512, jwa.NoSignature:
	}
	return false
}

// key is a public key of an issuer.
type key struct {
	id     string
	alg    string // `alg`, empty when the key names none
	public crypto.PublicKey
	// thumbprint (RFC 7638) and alg tell whether two keys are the same.
	thumbprint string
}

// member is what is read of a JWK here; jwx gets the key material alone, so
// that nothing else in the document (certificates, unknown uses) matters.
type member struct {
	KeyType string   `json:"kty"`
	KeyID   string   `json:"kid"`
	Use     string   `json:"use"`
	KeyOps  []string `json:"key_ops"`
	Alg     string   `json:"alg"`
	material
	D jsontext.Value `json:"d"`
}

type material struct {
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
	Crv string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
}

// parseKey reads one JWK (RFC 7517). An error means that the key is left out
// of its set.
func parseKey(data []byte) (*key, error) {
	var m member
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	switch {
	case m.KeyType != "RSA" && m.KeyType != "EC" && m.KeyType != "OKP":
		return nil, fmt.Errorf("key type %s is not used", quote(m.KeyType))
	case len(m.D) > 0:
		return nil, errors.New("a private key in a public set")
	case m.Use != "" && m.Use != "sig":
		return nil, fmt.Errorf("use is %s", quote(m.Use))
	case m.KeyOps != nil && !slices.Contains(m.KeyOps, "verify"):
		return nil, errors.New("key_ops has no verify")
	case m.Alg != "" && !supported(m.Alg):
		return nil, fmt.Errorf("alg %s is not used", quote(m.Alg))
	case len(m.KeyID) > maxKeyID:
		return nil, fmt.Errorf("kid has %d bytes, more than %d", len(m.KeyID), maxKeyID)
	case len(m.E) > 6:
		// jwx would cut a longer exponent to 64 bits.
		return nil, errors.New("the exponent has more than 4 bytes")
	}
	bare, err := json.Marshal(struct {
		KeyType string `json:"kty"`
		material
	}{m.KeyType, m.material})
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	parsed, err := jwk.ParseKey(bare)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	var public any
	if err := parsed.Raw(&public); err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if err := checkPublic(public); err != nil {
		return nil, err
	}
	sum, err := parsed.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	return &key{id: m.KeyID, alg: m.Alg, public: public, thumbprint: string(sum)}, nil
}

func checkPublic(public any) error {
	switch p := public.(type) {
	case *rsa.PublicKey:
		switch bits := p.N.BitLen(); {
		case bits < minRSABits || bits > maxRSABits:
			return fmt.Errorf("an RSA key of %d bits, not of %d to %d", bits, minRSABits, maxRSABits)
		case p.N.Bit(0) == 0:
			return errors.New("an RSA modulus that is even")
		case p.E < minRSAExponent || p.E%2 == 0:
			return fmt.Errorf("the RSA exponent %d", p.E)
		}
	case *ecdsa.PublicKey:
		if _, err := p.ECDH(); err != nil {
			return fmt.Errorf("an elliptic curve key that is not on its curve: %w", err)
		}
	case ed25519.PublicKey:
		if len(p) != ed25519.PublicKeySize {
			return fmt.Errorf("an Ed25519 key of %d bytes", len(p))
		}
	default:
		return fmt.Errorf("a key of type %T is not used", public)
	}
	return nil
}

// fits reports whether the key is one for the algorithm: by its own `alg`, its
// type and, for an elliptic curve, its size.
func (k *key) fits(alg string) bool {
	if k.alg != "" && plainAlgorithm(k.alg) != plainAlgorithm(alg) {
		return false
	}
	switch p := k.public.(type) {
	case *rsa.PublicKey:
		switch jwa.SignatureAlgorithm(alg) { //nolint:exhaustive // the others are not RSA's
		case jwa.RS256, jwa.RS384, jwa.RS512, jwa.PS256, jwa.PS384, jwa.PS512:
			return true
		}
	case *ecdsa.PublicKey:
		switch jwa.SignatureAlgorithm(alg) { //nolint:exhaustive // the others are not ECDSA's
		case jwa.ES256:
			return p.Curve == elliptic.P256()
		case jwa.ES384:
			return p.Curve == elliptic.P384()
		case jwa.ES512:
			return p.Curve == elliptic.P521()
		}
	case ed25519.PublicKey:
		return plainAlgorithm(alg) == edDSA
	}
	return false
}

func plainAlgorithm(alg string) string {
	if alg == ed25519Name {
		return edDSA
	}
	return alg
}

// verify checks the signature of t with this key and no other. The algorithm
// is one that fits, so the token has no choice left.
func (k *key) verify(t *jws) error {
	v, err := jwxjws.NewVerifier(jwa.SignatureAlgorithm(plainAlgorithm(t.algorithm)))
	if err != nil {
		return fmt.Errorf("verify signature: %w", err)
	}
	if err := v.Verify(t.signed, t.signature, k.public); err != nil {
		return fmt.Errorf("verify signature: %w", err)
	}
	return nil
}
