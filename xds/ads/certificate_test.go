package ads

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
)

// testPair is a new certificate and its key.
func testPair(t testing.TB) (certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gw"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k})
}

func TestCertificateIsSentByNameWhenItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1)
		p := started(t, s)
		defer p.hangUp()
		p.in <- ask(secrets, nil, "gateway")
		wantLines(t, p.drain())
		if err := s.SetCertificate(testPair(t)); err != nil {
			t.Fatal(err)
		}
		wantLines(t, p.drain(), "SDS +gateway")

		// A bad pair changes nothing, and the error does not quote it.
		cert, _ := testPair(t)
		err := s.SetCertificate(cert, []byte("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"))
		if err == nil || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("error %v", err)
		}
		wantLines(t, p.drain())

		if err := s.SetCertificate(testPair(t)); err != nil {
			t.Fatal(err)
		}
		rs := p.receive()
		wantLines(t, lines(rs), "SDS +gateway")
		p.in <- nack(rs[0], "bad: private_key { inline_string: \"-----BEGIN PRIVATE KEY-----...\" }")
		wantLines(t, p.drain())
		st := s.Status()
		if len(st.Rejections) != 1 || strings.Contains(st.Rejections[0].Message, "BEGIN") {
			t.Errorf("rejections %+v", st.Rejections)
		}
		// Another Envoy gets it all the same: it cannot start without.
		q := dial(t, s)
		defer q.hangUp()
		q.in <- ask(secrets, nil, "gateway")
		wantLines(t, q.drain(), "SDS +gateway")
		// Asked for again on the same stream, it is sent again.
		q.in <- ask(secrets, nil, "gateway")
		wantLines(t, q.drain(), "SDS +gateway")
	})
}

func TestDumpHasNoPrivateKey(t *testing.T) {
	t.Parallel()
	s := mustNew(t)
	mustLoad(t, s, 1, mcp("a", 1, 1, "/mcp"))
	cert, key := testPair(t)
	if err := s.SetCertificate(cert, key); err != nil {
		t.Fatal(err)
	}
	list, err := s.Dump()
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, m := range list {
		b, err := protojson.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	text := all.String()
	if strings.Contains(text, "PRIVATE KEY") || !strings.Contains(text, redacted) {
		t.Error("the dump shows the private key")
	}
	if n := len(list); n != 1+1+1+3 { // s-a@1, gateway, mcp, .well-known a healthz
		t.Errorf("%d resources", n)
	}
}
