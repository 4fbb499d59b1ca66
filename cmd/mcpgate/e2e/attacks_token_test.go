package e2e_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/demo"
)

// tokenRows are refusals of the token.
func tokenRows(g *table) []row {
	metadata := g.url + "/.well-known/oauth-protected-resource/a/mcp"
	first := `Bearer resource_metadata="` + metadata + `", scope="admin use"`
	challenge := func(v verdict, value string) verdict {
		v.header = map[string]string{"WWW-Authenticate": value, "Cache-Control": "no-store"}
		return v
	}
	now := time.Now()
	claims := func(subject string, c demo.Claims) string { return g.token(subject, "use", c) }
	good := claims("token-good", nil)
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + strings.Split(good, ".")[1] + "."
	rows := []row{
		{name: "design §6: no token", http1: post1("/a/mcp", "-Authorization"), want: challenge(refused(401, "token-missing"), first)},
		{name: "design §6.1: a body without a token is a 401", http1: post1("/a/mcp", "-Authorization", "-Content-Type"), want: challenge(refused(401, "token-missing"), first)},
		{name: "design §6: another scheme", http1: post1("/a/mcp", "-Authorization", "Authorization: Basic eDp5"), want: challenge(refused(401, "token-scheme"), first)},
		{name: "design §6.1: token in the query", http1: post1("/a/mcp?access_token={token}"), want: refused(401, "token-in-query")},
		{name: "design §6.1: token in the query, escaped", http1: post1("/a/mcp?%61ccess_token={token}"), want: refused(401, "token-in-query")},
		{name: "attacks §4.3: expired", token: claims("t", demo.Claims{"exp": now.Add(-time.Minute).Unix()}), want: refused(401, "token-expired")},
		{name: "attacks §4.3: not yet valid", token: claims("t", demo.Claims{"nbf": now.Add(time.Hour).Unix()}), want: refused(401, "token-not-yet-valid")},
		{name: "attacks §4.3: for another audience", token: claims("t", demo.Claims{"aud": "https://other.example"}), want: refused(401, "token-audience")},
		{name: "attacks §4.3: of another issuer", token: claims("t", demo.Claims{"iss": "https://other.example"}), want: refused(401, "token-issuer")},
		{name: "attacks §4.3: without a subject", token: claims("t", demo.Claims{"sub": ""}), want: refused(401, "token-subject")},
		{name: "CVE-2026-33322: alg none without a signature", token: unsigned, want: refused(401, "token-malformed")},
		{name: "CVE-2026-33322: alg none with a signature", token: unsigned + "AAAA", want: refused(401, "token-algorithm")},
		{name: "attacks §4.3: signature of another token", token: good[:strings.LastIndexByte(good, '.')+1] + strings.Split(claims("u", nil), ".")[2], want: refused(401, "token-signature")},
		{name: "attacks §4.3: no JWS", token: "opaque", want: refused(401, "token-malformed")},
		{name: "CVE-2019-9900: line break in a claim", token: claims("eve\r\nx-mcpgate-scopes: admin", nil), want: refused(401, "token-subject")},
		{name: "E2 §14: method override by token scope", claims: demo.Claims{"scope": "unknown"}, want: refused(403, "scope-insufficient")},
	}
	for i := range rows {
		rows[i].body = goodCall
		if rows[i].http1 == "" {
			rows[i].http1 = post1("/a/mcp")
		}
		if rows[i].token == "" && rows[i].claims == nil {
			rows[i].token = good
		}
	}
	return rows
}

// lateRow is F5: the decision waits for keys that never come, and what it
// would be after Envoy's patience must not count.
func lateRow(g *table) row {
	token, err := slowIssuer(g).Token("f5", g.url, nil)
	if err != nil {
		g.Fatal(err)
	}
	return row{http1: post1("/a/mcp"), body: goodCall, token: token, want: verdict{
		status: 503, rule: "deadline", header: map[string]string{"Retry-After": "1"},
	}}
}

// slowIssuer is an issuer, known to the gateway, that accepts connections and
// never answers.
func slowIssuer(g *table) *demo.Issuer {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		g.Fatal(err)
	}
	var conns sync.WaitGroup
	done := make(chan struct{})
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				<-done
				_ = c.Close()
			})
		}
	})
	g.Cleanup(func() {
		close(done)
		if err := l.Close(); err != nil {
			g.Error(err)
		}
		conns.Wait()
	})
	issuer, err := demo.NewIssuer("http://" + l.Addr().String())
	if err != nil {
		g.Fatal(err)
	}
	g.apply(fmt.Sprintf("kind: Issuer\nname: slow\nissuer: %s\naudiences: [%s]\n", issuer.URL, g.url))
	return issuer
}
