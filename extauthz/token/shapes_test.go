package token

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/registry"
)

// shape is a token as an authorization server makes it, and the Issuer that
// reads it: testdata/shapes. Signatures are made here, at 12:00. docs/issuers.md
// shows the Issuers.
type shape struct {
	About    string          `json:"about"`
	Issuer   registry.Issuer `json:"issuer"`
	Audience string          `json:"audience"` // the server's, when not the Issuer's
	Header   obj             `json:"header"`
	Claims   obj             `json:"claims"`
	Token    string          `json:"token"`  // in place of a JWT
	Answer   obj             `json:"answer"` // of introspection
	Refused  extauthz.Rule   `json:"refused"`
	Want     struct {
		Subject string   `json:"subject"`
		Client  string   `json:"client"`
		TokenID string   `json:"tokenID"`
		Session string   `json:"session"`
		Scopes  []string `json:"scopes"`
		Groups  []string `json:"groups"`
	} `json:"want"`
}

func TestShapes(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/shapes/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no shapes: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			s := readShape(t, file)
			if err := registry.Validate(&s.Issuer); err != nil {
				t.Errorf("an Issuer that cannot be written: %v", err)
			}

			f := newFixture(t)
			kid, _ := s.Header["kid"].(string)
			key := rsaKey(kid, 1)
			claims := s.Claims
			if s.Issuer.Introspection != nil {
				f.idp.serveJSON(s.Issuer.Introspection.URL, s.Answer)
				claims = s.Answer
			} else if s.Issuer.JWKSURI == "" {
				s.Issuer.JWKSURI = "https://keys.example.com/jwks"
			}
			f.idp.serveKeys(s.Issuer.JWKSURI, key.jwk("use", "sig"))
			f.SetIssuer(&s.Issuer)
			raw := s.Token
			if raw == "" {
				s.Header["alg"] = "RS256"
				raw = compact(mustJSON(s.Header), mustJSON(s.Claims), key.sign)
			}

			want := Want{}
			if s.Audience != "" {
				want.Audiences = []string{s.Audience}
			}
			got, verr := f.Verify(t.Context(), raw, want)
			if s.Refused != "" {
				wantRefusal(t, got, verr, s.Refused)
				return
			}
			if verr != nil {
				t.Fatal(verr)
			}
			caller := &extauthz.Caller{
				Issuer: "shape", Subject: s.Want.Subject, Client: s.Want.Client, TokenID: s.Want.TokenID,
				SessionID: s.Want.Session, Scopes: s.Want.Scopes, Groups: s.Want.Groups, ExpiresAt: f.now().Add(20 * time.Minute),
			}
			if iat, ok := claims["iat"].(float64); ok {
				caller.IssuedAt = time.Unix(int64(iat), 0)
			}
			if diff := cmp.Diff(caller, got, cmp.Comparer(time.Time.Equal)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func readShape(t *testing.T, file string) shape {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var s shape
	if err := json.Unmarshal(data, &s, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	s.Issuer.Name = "shape"
	return s
}
