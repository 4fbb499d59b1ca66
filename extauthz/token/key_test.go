package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/registry"
)

func allAlgorithms(i *registry.Issuer) {
	i.Algorithms = []string{
		"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
	}
}

// TestAlgorithms: every algorithm verifies with a key that names it and with
// one that names none, and with no other.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	f := newFixture(t, allAlgorithms)
	var keys []testKey
	for _, alg := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"} {
		keys = append(keys, testKey{alg, alg, rsaKeys[0]()})
	}
	keys = append(keys, ecKey("ES256", "ES256", elliptic.P256()), ecKey("ES384", "ES384", elliptic.P384()),
		ecKey("ES512", "ES512", elliptic.P521()), edKey("EdDSA"))
	var set []obj
	for _, k := range keys {
		set = append(set, k.jwk("alg", k.alg), k.jwk("kid", "plain-"+k.kid))
	}
	f.idp.serveKeys(corpJWKS, set...)
	f.SetIssuer(corp(allAlgorithms, otherwise))

	for _, k := range keys {
		t.Run(k.alg, func(t *testing.T) {
			f.accept(k.mint(f.claims()))
			f.accept(testKey{"plain-" + k.kid, k.alg, k.private}.mint(f.claims()))
			altered := k.mint(f.claims("sub", "mallory"))
			parts := strings.Split(altered, ".")
			parts[2] = strings.Split(k.mint(f.claims()), ".")[2]
			f.refuse(strings.Join(parts, "."), extauthz.RuleTokenSignature)
			for _, other := range keys {
				if other.kid != k.kid {
					// Signed as k signs, but naming a key made for another algorithm.
					f.refuse(testKey{other.kid, k.alg, k.private}.mint(f.claims()), extauthz.RuleTokenAlgorithm)
				}
			}
		})
	}
	t.Run("Ed25519", func(t *testing.T) {
		h := obj{"alg": "Ed25519", "typ": "at+jwt", "kid": "EdDSA"}
		f.accept(compact(mustJSON(h), mustJSON(f.claims()), keys[9].sign))
	})
}

func TestSignature(t *testing.T) {
	t.Parallel()
	ec := ecKey("ec", "ES256", elliptic.P256())
	ed := edKey("ed")
	rs := rsaKey("rs", 0)
	f := newFixture(t)
	f.idp.serveKeys(corpJWKS, ec.jwk(), ed.jwk(), rs.jwk())
	f.SetIssuer(corp(otherwise))
	private, _ := ec.private.(*ecdsa.PrivateKey)
	curve := private.Curve
	n := curve.Params().N

	sums := func(in []byte) (r, s *big.Int) {
		h := sha256.Sum256(in)
		r, s, err := ecdsa.Sign(rand.Reader, private, h[:])
		if err != nil {
			t.Fatal(err)
		}
		return r, s
	}
	tests := []struct {
		name string
		key  testKey
		sign func([]byte) []byte
		rule extauthz.Rule
	}{
		{"ECDSA r and s zero", ec, func([]byte) []byte { return make([]byte, 64) }, extauthz.RuleTokenSignature},
		{"ECDSA r and s equal to n", ec, func([]byte) []byte { return rawSignature(curve, n, n) }, extauthz.RuleTokenSignature},
		{"ECDSA high-s is accepted", ec, func(in []byte) []byte {
			r, s := sums(in)
			if high := new(big.Int).Sub(n, s); high.Cmp(s) > 0 {
				s = high
			}
			return rawSignature(curve, r, s)
		}, ""},
		{"ECDSA DER instead of raw", ec, func(in []byte) []byte {
			r, s := sums(in)
			der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
			if err != nil {
				t.Fatal(err)
			}
			return der
		}, extauthz.RuleTokenSignature},
		{"ECDSA with bytes more", ec, func(in []byte) []byte { return append(ec.sign(in), 0, 0) }, extauthz.RuleTokenSignature},
		{"ECDSA with a byte less", ec, func(in []byte) []byte { return ec.sign(in)[:63] }, extauthz.RuleTokenSignature},
		{"EdDSA with a byte less", ed, func(in []byte) []byte { return ed.sign(in)[:63] }, extauthz.RuleTokenSignature},
		{"EdDSA zero", ed, func([]byte) []byte { return make([]byte, 64) }, extauthz.RuleTokenSignature},
		{"EdDSA s not reduced", ed, func(in []byte) []byte {
			sig := ed.sign(in)
			sig[63] |= 0xe0
			return sig
		}, extauthz.RuleTokenSignature},
		{"RSA zero", rs, func([]byte) []byte { return make([]byte, 256) }, extauthz.RuleTokenSignature},
		{"RSA one", rs, func([]byte) []byte { return big.NewInt(1).FillBytes(make([]byte, 256)) }, extauthz.RuleTokenSignature},
		{"RSA with a byte more", rs, func(in []byte) []byte { return append([]byte{0}, rs.sign(in)...) }, extauthz.RuleTokenSignature},
		{"RSA by PSS under RS256", rs, testKey{"rs", "PS256", rs.private}.sign, extauthz.RuleTokenSignature},
		{"RSA by another key", rs, rsaKey("rs", 1).sign, extauthz.RuleTokenSignature},
		{"RSA over another token", rs, func([]byte) []byte { return rs.sign([]byte("x")) }, extauthz.RuleTokenSignature},
		{"HMAC under RS256", rs, func(in []byte) []byte { return hmacSHA256(rsaKeys[0]().N.Bytes(), in) }, extauthz.RuleTokenSignature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			raw := compact(mustJSON(tt.key.header()), mustJSON(f.claims()), tt.sign)
			c, err := f.verify(raw)
			if tt.rule == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			wantRefusal(t, c, err, tt.rule)
		})
	}
}

// TestKey: which keys of a set are used at all.
func TestKey(t *testing.T) {
	t.Parallel()
	rs, ec := rsaKey("k", 0), ecKey("k", "ES256", elliptic.P256())
	big2048 := func(change func(*big.Int)) string {
		n := new(big.Int).Set(rsaKeys[0]().N)
		change(n)
		return b64(n.Bytes())
	}
	tests := []struct {
		name string
		jwk  any
		ok   bool
	}{
		{"RSA", rs.jwk(), true},
		{"RSA with use sig, alg, key_ops, x5c", rs.jwk("use", "sig", "alg", "RS256", "key_ops", []string{"verify"}, "x5c", []string{"junk"}), true},
		{"RSA with padded n", rs.jwk("n", b64(rsaKeys[0]().N.Bytes())+"=="), true},
		{"EC", ec.jwk(), true},
		{"Ed25519", edKey("k").jwk(), true},

		{"use enc", rs.jwk("use", "enc"), false},
		{"key_ops without verify", rs.jwk("key_ops", []string{"encrypt"}), false},
		{"key_ops empty", rs.jwk("key_ops", []string{}), false},
		{"alg of encryption", rs.jwk("alg", "RSA-OAEP"), false},
		{"alg HS256 on an RSA key", rs.jwk("alg", "HS256"), false},
		{"alg none", rs.jwk("alg", "none"), false},
		{"oct", obj{"kty": "oct", "kid": "k", "k": b64([]byte("secret"))}, false},
		{"unknown kty", obj{"kty": "AKP", "kid": "k", "alg": "ML-DSA-44", "pub": "AAAA"}, false},
		{"no kty", obj{"kid": "k"}, false},
		{"a private key", rs.jwk("d", "AAAA"), false},
		{"kid number", rs.jwk("kid", 1), false},
		{"kid huge", rs.jwk("kid", strings.Repeat("k", maxKeyID+1)), false},
		{"not an object", "x", false},
		{"RSA of 1024 bits", rsaKey("k", 2).jwk(), false},
		{"RSA above 8192 bits", rs.jwk("n", b64(append([]byte{1}, make([]byte, 1024)...))), false},
		{"RSA with an even modulus", rs.jwk("n", big2048(func(n *big.Int) { n.SetBit(n, 0, 0) })), false},
		{"RSA e=1", rs.jwk("e", b64([]byte{1})), false},
		{"RSA e=3", rs.jwk("e", b64([]byte{3})), false},
		{"RSA e even", rs.jwk("e", b64([]byte{1, 0, 2})), false},
		{"RSA e beyond 64 bits", rs.jwk("e", b64([]byte{1, 0, 0, 0, 0, 0, 0, 1, 0, 1})), false},
		{"RSA without n", obj{"kty": "RSA", "kid": "k", "e": "AQAB"}, false},
		{"EC not on the curve", ec.jwk("x", b64(make([]byte, 32))), false},
		{"EC of an unknown curve", ec.jwk("crv", "secp256k1"), false},
		{"EC of another curve", ec.jwk("crv", "P-384"), false},
		{"Ed25519 short", obj{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": b64(make([]byte, 31))}, false},
		{"X25519", obj{"kty": "OKP", "crv": "X25519", "kid": "k", "x": b64(make([]byte, 32))}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k, err := parseKey(mustJSON(tt.jwk))
			if (err == nil) != tt.ok {
				t.Fatalf("key %v, error %v", k, err)
			}
		})
	}
	if _, err := parseKey([]byte(`{"kty":"RSA","kty":"EC"}`)); err == nil {
		t.Error("a key with duplicate members was read")
	}
}

func TestKeyOfOneCurveFitsOneAlgorithm(t *testing.T) {
	t.Parallel()
	curves := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}
	for of, curve := range curves {
		k := &key{public: ecKey("", of, curve).private.Public()}
		for alg := range curves {
			if k.fits(alg) != (alg == of) {
				t.Errorf("a key for %s fits %s: %t", of, alg, k.fits(alg))
			}
		}
	}
	k := &key{public: &rsa.PublicKey{}}
	for _, alg := range []string{"HS256", "none", "ES256", "EdDSA", "RSA1_5", ""} {
		if k.fits(alg) {
			t.Errorf("an RSA key fits %q", alg)
		}
	}
}
