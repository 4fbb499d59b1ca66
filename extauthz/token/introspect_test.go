package token

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/authserver"
	"github.com/mcpgate/mcpgate/registry"
)

const (
	opaqueURL     = "https://op.example.com"
	introspection = opaqueURL + "/introspect"
	opaqueToken   = "gNnLKu7vVW0xYEkPHXiqK2O4"
)

// opaque is the Issuer op, whose tokens are introspected.
func opaque(change ...func(*registry.Issuer)) *registry.Issuer {
	i := &registry.Issuer{
		Name: "op", Issuer: opaqueURL,
		Introspection: &registry.Introspection{URL: introspection, ClientID: "gateway", ClientSecret: "env:SECRET"},
	}
	for _, c := range change {
		c(i)
	}
	return i
}

// active is a good answer about a token.
func active(now time.Time, extra ...any) obj {
	c := obj{
		"active": true, "iss": opaqueURL, "sub": "alice", "aud": audience, "client_id": "inspector", "token_type": "Bearer",
		"scope": "weather:read", "jti": "t-1", "sid": "s-1", "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
	for i := 0; i < len(extra); i += 2 {
		name := fmt.Sprint(extra[i])
		if c[name] = extra[i+1]; extra[i+1] == nil {
			delete(c, name)
		}
	}
	return c
}

// newOpaqueFixture has the issuer op beside corp.
func newOpaqueFixture(t *testing.T, change ...func(*registry.Issuer)) *fixture {
	t.Helper()
	f := newFixture(t)
	f.SetIssuer(opaque(change...))
	return f
}

func TestIntrospectionAsksAsTheGateway(t *testing.T) {
	t.Parallel()
	f := newOpaqueFixture(t)
	f.idp.serve(introspection, func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		got := []string{r.Method, id, secret, r.PostForm.Encode()}
		want := []string{"POST", "gateway", "secret+of+env%3ASECRET", "token=" + opaqueToken + "&token_type_hint=access_token"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("request (-want +got)\n%s", diff)
		}
		_, _ = w.Write(mustJSON(active(f.now())))
	})
	got := f.accept(opaqueToken)
	want := &extauthz.Caller{
		Issuer: "op", Subject: "alice", Client: "inspector", TokenID: "t-1", SessionID: "s-1", Scopes: []string{"weather:read"},
		IssuedAt: f.now(), ExpiresAt: f.now().Add(5 * time.Minute),
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(time.Time.Equal)); diff != "" {
		t.Errorf("caller (-want +got)\n%s", diff)
	}
}

// TestIntrospectionAnswers: each answer is judged as the claims of a JWT are,
// and one that cannot be judged refuses for now, not for what it says.
func TestIntrospectionAnswers(t *testing.T) {
	t.Parallel()
	now := newClock().now()
	say := func(extra ...any) http.HandlerFunc { return body(string(mustJSON(active(now, extra...)))) }
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = w.Write(mustJSON(active(now)))
		}
	}
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   extauthz.Rule
	}{
		"good":                   {say(), ""},
		"not active":             {body(`{"active":false}`), extauthz.RuleTokenInactive},
		"not active with claims": {say("active", false), extauthz.RuleTokenInactive},
		"active is a string":     {say("active", "true"), extauthz.RuleKeysUnavailable},
		"active is missing":      {say("active", nil), extauthz.RuleKeysUnavailable},
		"active twice":           {body(`{"active":false,"active":true,"sub":"alice"}`), extauthz.RuleKeysUnavailable},
		"not JSON":               {body("<html>active</html>"), extauthz.RuleKeysUnavailable},
		"empty":                  {body(""), extauthz.RuleKeysUnavailable},
		"an array":               {body(`[{"active":true}]`), extauthz.RuleKeysUnavailable},
		"data after the object":  {body(string(mustJSON(active(now))) + "{}"), extauthz.RuleKeysUnavailable},
		"too large":              {body(string(mustJSON(active(now, "pad", strings.Repeat("x", authserver.MaxAnswer))))), extauthz.RuleKeysUnavailable},
		"nested too deep":        {body(`{"active":true,"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`), extauthz.RuleKeysUnavailable},
		"status 201":             {status(201), extauthz.RuleKeysUnavailable},
		"status 401":             {status(401), extauthz.RuleKeysUnavailable},
		"status 404":             {status(404), extauthz.RuleKeysUnavailable},
		"status 500":             {status(500), extauthz.RuleKeysUnavailable},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, extauthz.RuleKeysUnavailable},
		"panic in the transport":         {func(http.ResponseWriter, *http.Request) { panic("x") }, extauthz.RuleInternal},
		"no exp":                         {say("exp", nil), extauthz.RuleTokenClaim},
		"expired":                        {say("exp", now.Add(-time.Minute).Unix()), extauthz.RuleTokenExpired},
		"within the leeway":              {say("exp", now.Add(-20*time.Second).Unix()), ""},
		"not yet valid":                  {say("nbf", now.Add(time.Minute).Unix()), extauthz.RuleTokenNotYetValid},
		"issued in the future":           {say("iat", now.Add(time.Minute).Unix()), extauthz.RuleTokenNotYetValid},
		"no iat":                         {say("iat", nil), ""},
		"another issuer":                 {say("iss", "https://op.example.com/"), extauthz.RuleTokenIssuer},
		"iss is null":                    {say("iss", []any{}), extauthz.RuleTokenIssuer},
		"no iss":                         {say("iss", nil), ""},
		"another audience":               {say("aud", "https://gw.example.com/other/mcp"), extauthz.RuleTokenAudience},
		"no aud":                         {say("aud", nil), extauthz.RuleTokenAudience},
		"aud is a number":                {say("aud", 7), extauthz.RuleTokenClaim},
		"no sub":                         {say("sub", nil), extauthz.RuleTokenSubject},
		"sub with a line break":          {say("sub", "a\r\nb"), extauthz.RuleTokenSubject},
		"client is a number":             {say("client_id", 7), extauthz.RuleTokenClaim},
		"scope is a number":              {say("scope", 7), extauthz.RuleTokenClaim},
		"sid is a number":                {say("sid", 7), extauthz.RuleTokenClaim},
		"type bearer":                    {say("token_type", "bearer"), ""},
		"type access_token":              {say("token_type", "access_token"), ""},
		"no type":                        {say("token_type", nil), ""},
		"type DPoP":                      {say("token_type", "DPoP"), extauthz.RuleTokenType},
		"type refresh_token":             {say("token_type", "refresh_token"), extauthz.RuleTokenType},
		"type is a number":               {say("token_type", 1), extauthz.RuleTokenType},
		"bound to a key":                 {say("cnf", obj{"jkt": "x"}), extauthz.RuleTokenType},
		"a refresh token of Keycloak":    {say("typ", "Refresh"), extauthz.RuleTokenType},
		"a refresh token of Ory Hydra":   {say("token_use", "refresh_token"), extauthz.RuleTokenType},
		"an access token of Ory Hydra":   {say("token_use", "access_token"), ""},
		"nonce of an older Keycloak":     {say("nonce", "n-1"), ""},
		"closed in the middle":           {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, extauthz.RuleInternal},
		"claims of another case":         {body(`{"Active":true,"active":false}`), extauthz.RuleTokenInactive},
		"an error in place of an answer": {body(`{"error":"invalid_request"}`), extauthz.RuleKeysUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newOpaqueFixture(t)
			f.idp.serve(introspection, tt.answer)
			if tt.want == "" {
				f.accept(opaqueToken)
				return
			}
			f.refuse(opaqueToken, tt.want)
		})
	}
}

func TestIntrospectionNeedsItsSecret(t *testing.T) {
	t.Parallel()
	f := newOpaqueFixture(t, func(i *registry.Issuer) { i.Introspection.ClientSecret = "env:UNSET" })
	f.idp.serveJSON(introspection, active(f.now()))
	f.refuse(opaqueToken, extauthz.RuleKeysUnavailable)
	if n := f.idp.fetches(introspection); n != 0 {
		t.Errorf("asked %d times without a secret", n)
	}
}

// TestIntrospectionErrorsCarryNoToken: Reason is for the operator, and the
// token is for nobody.
func TestIntrospectionErrorsCarryNoToken(t *testing.T) {
	t.Parallel()
	for _, answer := range []http.HandlerFunc{nil, body(opaqueToken), body(`{"active":true,"x":"` + opaqueToken + `"}`), func(http.ResponseWriter, *http.Request) { panic(opaqueToken) }} {
		f := newOpaqueFixture(t)
		f.idp.serve(introspection, answer)
		_, err := f.verify(opaqueToken)
		if err == nil || strings.Contains(err.Error(), opaqueToken) || strings.Contains(err.Error(), "secret of") {
			t.Errorf("error %v", err)
		}
		if s := fmt.Sprint(f.Status()); strings.Contains(s, opaqueToken) {
			t.Errorf("status %s", s)
		}
	}
}

// TestTokenGoesToOneIssuer: how a token is assigned, with the JWT issuer corp
// beside the introspection issuer op.
func TestTokenGoesToOneIssuer(t *testing.T) {
	t.Parallel()
	f := newOpaqueFixture(t)
	f.idp.serveJSON(introspection, active(f.now()))
	evil := obj{"iss": "https://evil.example.com", "sub": "alice", "exp": f.now().Add(time.Hour).Unix()}
	of := func(iss string) string { return f.key.mint(f.claims("iss", iss)) }
	padded := strings.Replace(of(opaqueURL), ".", "==.", 1)
	for name, tt := range map[string]struct {
		raw     string
		issuers []string
		want    extauthz.Rule
		asked   bool
	}{
		"opaque":                                       {opaqueToken + "a", nil, "", true},
		"opaque with dots":                             {"ya29.a0AfB.x", nil, "", true},
		"opaque, every character":                      {"aZ09-._~+/==", nil, "", true},
		"opaque, server accepts corp alone":            {opaqueToken + "b", []string{"corp"}, extauthz.RuleTokenMalformed, false},
		"opaque, server accepts op":                    {opaqueToken + "c", []string{"op", "corp"}, "", true},
		"JWT of corp":                                  {of(corpURL), nil, "", false},
		"JWT of corp, server accepts op alone":         {of(corpURL), []string{"op"}, extauthz.RuleTokenIssuer, false},
		"forged JWT of corp":                           {compact(mustJSON(f.key.header()), mustJSON(f.claims()), func([]byte) []byte { return []byte("forged") }), nil, extauthz.RuleTokenSignature, false},
		"JWT of op":                                    {of(opaqueURL), nil, "", true},
		"JWT of op, server accepts corp":               {of(opaqueURL), []string{"corp"}, extauthz.RuleTokenIssuer, false},
		"JWT of another issuer":                        {f.key.mint(evil), nil, extauthz.RuleTokenIssuer, false},
		"JWT without iss":                              {f.key.mint(f.claims("iss", nil)), nil, extauthz.RuleTokenIssuer, false},
		"JWT with iss twice":                           {compact(mustJSON(f.key.header()), []byte(`{"iss":"`+corpURL+`","iss":"`+opaqueURL+`"}`), f.key.sign), nil, extauthz.RuleTokenMalformed, false},
		"JWT with padding":                             {padded, nil, extauthz.RuleTokenMalformed, false},
		"JWT with a blank header":                      {compact([]byte(` {"alg":"none"}`), mustJSON(evil), f.key.sign), nil, extauthz.RuleTokenIssuer, false},
		"JWT without a signature":                      {strings.Join(strings.Split(of(opaqueURL), ".")[:2], ".") + ".", nil, extauthz.RuleTokenMalformed, false},
		"JWE":                                          {of(opaqueURL) + ".a.b", nil, extauthz.RuleTokenMalformed, false},
		"a JSON object":                                {`{"active":true}`, nil, extauthz.RuleTokenMalformed, false},
		"not a bearer token":                           {"a b", nil, extauthz.RuleTokenMalformed, false},
		"padding alone":                                {"==", nil, extauthz.RuleTokenMalformed, false},
		"JWT of op whose header parameters are unread": {compact([]byte(`{"alg":"none"}`), mustJSON(f.claims("iss", opaqueURL)), f.key.sign), nil, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			before := f.idp.fetches(introspection)
			c, err := f.Verify(t.Context(), tt.raw, Want{Issuers: tt.issuers, Audiences: []string{audience}})
			if tt.want != "" {
				wantRefusal(t, c, err, tt.want)
			} else if err != nil {
				t.Errorf("refused: %v", err)
			}
			if got := f.idp.fetches(introspection) > before; got != tt.asked {
				t.Errorf("introspected is %t, want %t", got, tt.asked)
			}
		})
	}
}

// TestNoFallbackBetweenTheKinds: an issuer URL that has both kinds of Issuer
// is one of JWTs, for servers that accept either, and a change of kind takes
// effect on tokens that are known.
func TestNoFallbackBetweenTheKinds(t *testing.T) {
	t.Parallel()
	f := newOpaqueFixture(t)
	f.idp.serveJSON(introspection, active(f.now()))
	raw := f.key.mint(f.claims("iss", opaqueURL))
	f.accept(raw)
	f.SetIssuer(corp(func(i *registry.Issuer) { i.Name, i.Issuer = "op-jwt", opaqueURL }))
	f.idp.serveKeys(corpJWKS) // no key: the signature cannot hold
	asked := f.idp.fetches(introspection)
	for _, issuers := range [][]string{nil, {"op"}, {"op", "op-jwt"}, {"op-jwt"}} {
		if c, err := f.Verify(t.Context(), raw, Want{Issuers: issuers, Audiences: []string{audience}}); err == nil {
			t.Errorf("%v: accepted as %+v", issuers, c)
		}
	}
	if n := f.idp.fetches(introspection); n != asked {
		t.Errorf("introspected %d times more", n-asked)
	}
	f.RemoveIssuer("op-jwt")
	f.accept(raw)
	f.SetIssuer(corp(func(i *registry.Issuer) { i.Name, i.Issuer = "op", opaqueURL }))
	f.refuse(raw, extauthz.RuleKeysUnavailable)
	f.refuse(opaqueToken, extauthz.RuleTokenMalformed)
}

func TestOpaqueTokenOfTwoIssuersIsRefused(t *testing.T) {
	t.Parallel()
	f := newOpaqueFixture(t)
	f.idp.serveJSON(introspection, active(f.now()))
	const second = "https://two.example.com"
	f.idp.serveJSON(second+"/introspect", active(f.now(), "iss", second))
	f.accept(opaqueToken)
	f.SetIssuer(opaque(func(i *registry.Issuer) { i.Name, i.Issuer, i.Introspection.URL = "two", second, second+"/introspect" }))
	f.refuse(opaqueToken, extauthz.RuleTokenIssuer) // the cached one as well
	for _, name := range []string{"op", "two"} {
		c, err := f.Verify(t.Context(), opaqueToken, Want{Issuers: []string{"corp", name}, Audiences: []string{audience}})
		if err != nil || c.Issuer != name {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	f.RemoveIssuer("two")
	f.accept(opaqueToken)
}

func TestIntrospectionWithTheClientAsAudience(t *testing.T) {
	t.Parallel()
	f := newOpaqueFixture(t, func(i *registry.Issuer) {
		i.AudienceFrom, i.Audiences = registry.AudienceFromClient, []string{"inspector"}
	})
	for i, tt := range []struct {
		answer obj
		want   extauthz.Rule
	}{
		{active(f.now(), "aud", nil), ""},
		{active(f.now(), "aud", nil, "client_id", "other"), extauthz.RuleTokenAudience},
		{active(f.now(), "aud", nil, "client_id", nil), extauthz.RuleTokenAudience},
		{active(f.now(), "aud", "other"), extauthz.RuleTokenAudience},
		{active(f.now(), "aud", []string{}), extauthz.RuleTokenAudience},
		{active(f.now(), "aud", audience, "client_id", "other"), ""},
	} {
		f.idp.serveJSON(introspection, tt.answer)
		raw := fmt.Sprint(opaqueToken, i)
		if tt.want == "" {
			f.accept(raw)
		} else {
			f.refuse(raw, tt.want)
		}
	}
}

// TestIntrospectionIsAskedAgainInTime: an answer is believed for a minute, or
// as long as the token lives, and a refusal for five seconds.
func TestIntrospectionIsAskedAgainInTime(t *testing.T) {
	t.Parallel()
	f := newOpaqueFixture(t)
	wantAsked := func(n int) {
		t.Helper()
		if got := f.idp.fetches(introspection); got != n {
			t.Errorf("asked %d times, want %d", got, n)
		}
	}
	f.idp.serveJSON(introspection, active(f.now()))
	f.accept(opaqueToken)
	f.clock.add(59 * time.Second)
	f.accept(opaqueToken)
	wantAsked(1)
	// It is revoked at the issuer: the minute ends it.
	f.idp.serveJSON(introspection, obj{"active": false})
	f.clock.add(time.Second)
	f.refuse(opaqueToken, extauthz.RuleTokenInactive)
	wantAsked(2)
	f.clock.add(4 * time.Second)
	f.refuse(opaqueToken, extauthz.RuleTokenInactive)
	wantAsked(2)
	f.clock.add(time.Second)
	f.idp.serveJSON(introspection, active(f.now(), "exp", f.now().Add(10*time.Second).Unix()))
	f.accept(opaqueToken)
	wantAsked(3)
	f.clock.add(9 * time.Second)
	f.accept(opaqueToken)
	wantAsked(3)
	// The token's own end, and no leeway for what is remembered.
	f.clock.add(time.Second)
	f.accept(opaqueToken)
	f.accept(opaqueToken)
	wantAsked(5)
	f.clock.add(time.Minute)
	f.refuse(opaqueToken, extauthz.RuleTokenExpired)
}

func TestIntrospectionAnswerIsForEveryServer(t *testing.T) {
	t.Parallel()
	f := newOpaqueFixture(t)
	f.idp.serveJSON(introspection, active(f.now()))
	other := Want{Audiences: []string{"https://gw.example.com/other/mcp"}}
	for range 2 {
		c, err := f.Verify(t.Context(), opaqueToken, other)
		wantRefusal(t, c, err, extauthz.RuleTokenAudience)
		f.accept(opaqueToken)
	}
	if n := f.idp.fetches(introspection); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// TestIntrospectionIsCoalesced: many who bring one token make one question, a
// caller in a hurry gets a 503 and leaves the question to the others, and what
// it brings is there for the retry.
func TestIntrospectionIsCoalesced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{TB: t, idp: newIDP()}
		f.Verifier = New(Config{Transport: f.idp, Secrets: secrets{}})
		t.Cleanup(f.Close)
		f.SetIssuer(opaque())
		f.idp.serve(introspection, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Second) //nolint:forbidigo // on fake time
			_, _ = w.Write(mustJSON(active(time.Now())))
		})
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { f.accept(opaqueToken) })
		}
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			c, err := f.Verify(ctx, opaqueToken, Want{Audiences: []string{audience}})
			wantRefusal(t, c, err, extauthz.RuleKeysUnavailable)
		})
		all.Wait()
		f.accept(opaqueToken)
		if n := f.idp.fetches(introspection); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestIntrospectionFloodIsBounded: different tokens at once are turned away
// above the limit, and a silent issuer holds nobody longer than the timeout.
func TestIntrospectionFloodIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{TB: t, idp: newIDP()}
		f.Verifier = New(Config{Transport: f.idp, Secrets: secrets{}})
		t.Cleanup(f.Close)
		f.SetIssuer(opaque())
		f.idp.serve(introspection, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		begin := time.Now()
		var mu sync.Mutex
		rules := map[extauthz.Rule]int{}
		var all sync.WaitGroup
		for i := range maxLookups + 50 {
			all.Go(func() {
				_, err := f.verify(fmt.Sprint(opaqueToken, i))
				e, ok := errors.AsType[*Error](err)
				if !ok || !e.Unavailable {
					t.Errorf("error %v", err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				rules[e.Rule]++
			})
		}
		all.Wait()
		want := map[extauthz.Rule]int{extauthz.RuleOverload: 50, extauthz.RuleKeysUnavailable: maxLookups}
		if diff := cmp.Diff(want, rules); diff != "" {
			t.Errorf("rules (-want +got)\n%s", diff)
		}
		if d := time.Since(begin); d != authserver.Timeout {
			t.Errorf("waited %s, want %s", d, authserver.Timeout)
		}
		if s := f.Status(); len(s) != 1 || s[0].Usable || s[0].LastError == "" || s[0].Introspection != introspection {
			t.Errorf("status %+v", s)
		}
		f.idp.serveJSON(introspection, active(time.Now()))
		f.accept(opaqueToken)
		if s := f.Status(); !s[0].Usable || s[0].LastError != "" {
			t.Errorf("status %+v", s)
		}
	})
}

// TestRefusalsAreBounded: what a flood of invalid tokens leaves behind.
func TestRefusalsAreBounded(t *testing.T) {
	t.Parallel()
	var r refusals
	now := time.Now()
	for i := range 10 * maxRefused {
		r.put(digest{byte(i), byte(i >> 8), byte(i >> 16)}, &Error{}, now)
	}
	if n := len(r.young) + len(r.old); n > maxRefused {
		t.Errorf("%d refusals kept", n)
	}
}

// TestChangedIntrospectionForgetsItsAnswers: new settings ask anew.
func TestChangedIntrospectionForgetsItsAnswers(t *testing.T) {
	t.Parallel()
	f := newOpaqueFixture(t)
	f.idp.serveJSON(introspection, active(f.now()))
	f.accept(opaqueToken)
	f.SetIssuer(opaque()) // equal: no change
	f.accept(opaqueToken)
	if n := f.idp.fetches(introspection); n != 1 {
		t.Errorf("asked %d times", n)
	}
	f.SetIssuer(opaque(func(i *registry.Issuer) { i.Introspection.ClientID = "other" }))
	f.idp.serveJSON(introspection, obj{"active": false})
	f.refuse(opaqueToken, extauthz.RuleTokenInactive)
	f.RemoveIssuer("op")
	f.refuse(opaqueToken, extauthz.RuleTokenMalformed)
}

// FuzzLooksSigned: whatever the strict reader accepts is taken for a JWT, so
// that nothing that is one can be opaque.
func FuzzLooksSigned(f *testing.F) {
	key := rsaKey("k1", 0)
	now := time.Unix(1795608000, 0)
	for _, s := range []string{key.mint(claims(now)), opaqueToken, "", ".", "e30.e30.e30", "eyJ.x", "ICB7fQ.e30.x", "a.b", "=.=", "e30=.e30.x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		signed := looksSigned(raw)
		if _, err := parse(raw); err == nil && !signed {
			t.Errorf("%q is a JWT and does not look like one", raw)
		}
		if checkOpaque(raw) == nil && strings.ContainsAny(raw, " \r\n,\"") {
			t.Errorf("%q is no bearer token", raw)
		}
	})
}
