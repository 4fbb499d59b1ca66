package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/mcpgate/mcpgate/registry"
)

// benchClaims make a token of about 700 bytes.
func benchClaims(f *fixture) obj {
	return f.claims("groups", []string{"/lob1/users"}, "sid", strings.Repeat("s", 60))
}

func BenchmarkWarm(b *testing.B) {
	f := newFixture(b)
	raw := f.key.mint(benchClaims(f))
	want := Want{Issuers: []string{"other", "corp"}, Audiences: []string{audience}}
	f.accept(raw)
	b.ReportMetric(float64(len(raw)), "token-bytes")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Verify(b.Context(), raw, want); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWarmParallel(b *testing.B) {
	f := newFixture(b)
	want := Want{Audiences: []string{audience}}
	var raw []string
	for i := range 1000 {
		raw = append(raw, f.key.mint(f.claims("sub", fmt.Sprint(i))))
		f.accept(raw[i])
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := f.Verify(b.Context(), raw[i%len(raw)], want); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkCold compares a token that is not in the cache with the arithmetic
// of its signature alone.
func BenchmarkCold(b *testing.B) {
	for _, k := range []testKey{
		rsaKey("RS256", 0), {"PS256", "PS256", rsaKeys[0]()}, ecKey("ES256", "ES256", elliptic.P256()), edKey("EdDSA"),
	} {
		f := newFixture(b)
		f.idp.serveKeys(corpJWKS, k.jwk())
		f.SetIssuer(corp(otherwise))
		raw := k.mint(benchClaims(f))
		f.accept(raw)
		b.Run(k.alg+"/verify", func(b *testing.B) {
			b.ReportAllocs()
			d := digest(sha256.Sum256([]byte(raw)))
			for b.Loop() {
				if _, err := f.Verifier.verify(b.Context(), raw, d, Want{Audiences: []string{audience}}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(k.alg+"/raw", func(b *testing.B) {
			t, _ := parse(raw)
			b.ReportAllocs()
			for b.Loop() {
				if !rawVerify(k, t.signed, t.signature) {
					b.Fatal("does not hold")
				}
			}
		})
	}
}

func rawVerify(k testKey, signed, signature []byte) bool {
	h := sha256.Sum256(signed)
	switch p := k.private.Public().(type) {
	case *rsa.PublicKey:
		if k.alg == "PS256" {
			return rsa.VerifyPSS(p, crypto.SHA256, h[:], signature, nil) == nil
		}
		return rsa.VerifyPKCS1v15(p, crypto.SHA256, h[:], signature) == nil
	case *ecdsa.PublicKey:
		return ecdsa.Verify(p, h[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	case ed25519.PublicKey:
		return ed25519.Verify(p, signed, signature)
	}
	return false
}

// BenchmarkRefuse is the cost of tokens that need no arithmetic.
func BenchmarkRefuse(b *testing.B) {
	f := newFixture(b)
	for name, raw := range map[string]string{
		"expired": f.key.mint(f.claims("exp", 1)),
		"opaque":  strings.Repeat("x", 40),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.Verify(b.Context(), raw, Want{Audiences: []string{audience}}); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}

// BenchmarkIssuerChange empties the cache of an issuer: its cost must not
// depend on how much is in it.
func BenchmarkIssuerChange(b *testing.B) {
	for _, n := range []int{10, 50_000} {
		b.Run(fmt.Sprintf("cached=%d", n), func(b *testing.B) {
			f := newFixture(b)
			f.accept(f.key.mint(f.claims()))
			v := &verified{issuer: f.byName["corp"]}
			for i := range n {
				f.cache.put(digestOf(i), v, 700)
			}
			i := 0
			for b.Loop() {
				i++
				f.SetIssuer(corp(func(r *registry.Issuer) { r.Audiences = []string{fmt.Sprint(i % 2)} }))
			}
		})
	}
}
