package exchange

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/authserver"
	"github.com/mcpgate/mcpgate/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tokenURL    = "https://as.example.com/token"
	clientToken = "client-token-hunter2"
)

type obj = map[string]any

// secrets resolves every reference but one.
type secrets struct{}

func (secrets) Resolve(ref registry.SecretRef) (string, error) {
	if ref == "env:UNSET" {
		return "", errors.New("secret env:UNSET: variable is not set")
	}
	return "gateway-hunter2", nil
}

// as is an authorization server without a network.
type as struct {
	handler http.HandlerFunc
	calls   atomic.Int64
}

// RoundTrip implements http.RoundTripper.
func (a *as) RoundTrip(r *http.Request) (*http.Response, error) {
	a.calls.Add(1)
	if a.handler == nil {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	a.handler(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// good is a good answer.
func good(token string, extra ...any) obj {
	a := obj{"access_token": token, "issued_token_type": typeAccessToken, "token_type": "Bearer", "expires_in": 300}
	for i := 0; i < len(extra); i += 2 {
		name := fmt.Sprint(extra[i])
		if a[name] = extra[i+1]; extra[i+1] == nil {
			delete(a, name)
		}
	}
	return a
}

func answer(status int, body any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		if s, ok := body.(string); ok {
			_, _ = io.WriteString(w, s)
			return
		}
		if err := json.NewEncoder(w).Encode(body); err != nil {
			panic(err)
		}
	}
}

// clock is a wall clock that only moves when told.
type clock struct{ at atomic.Pointer[time.Time] }

func (c *clock) now() time.Time { return *c.at.Load() }
func (c *clock) add(d time.Duration) {
	t := c.now().Add(d)
	c.at.Store(&t)
}

type fixture struct {
	*Client
	t     testing.TB
	as    *as
	clock *clock
}

func newFixture(t testing.TB, h http.HandlerFunc) *fixture {
	t.Helper()
	f := &fixture{t: t, as: &as{handler: h}, clock: &clock{}}
	start := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	f.clock.at.Store(&start)
	f.Client = New(Config{Secrets: secrets{}, Transport: f.as, Now: f.clock.now})
	t.Cleanup(f.Close)
	return f
}

// request is alice's at the weather server, for an hour.
func (f *fixture) request(change ...func(*Request)) Request {
	r := Request{
		Exchange: &registry.Exchange{TokenURL: tokenURL, ClientID: "gateway", ClientSecret: "env:SECRET", Audience: "weather", Scopes: []string{"a", "b"}},
		Server:   "weather", Generation: 3, Token: clientToken,
		Caller: &extauthz.Caller{Issuer: "corp", Subject: "alice", Client: "inspector", ExpiresAt: f.now().Add(time.Hour)},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func (f *fixture) get(change ...func(*Request)) (string, error) {
	f.t.Helper()
	return f.Token(f.t.Context(), f.request(change...))
}

func (f *fixture) want(token string, change ...func(*Request)) {
	f.t.Helper()
	if got, err := f.get(change...); got != token || err != nil {
		f.t.Errorf("got %q, %v; want %q", got, err, token)
	}
}

func (f *fixture) refuse(rule extauthz.Rule, change ...func(*Request)) {
	f.t.Helper()
	got, err := f.get(change...)
	wantRule(f.t, got, err, rule)
}

func wantRule(t testing.TB, got string, err error, rule extauthz.Rule) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Rule != rule || got != "" {
		t.Errorf("got %q, %v; want %s", got, err, rule)
		return
	}
	if strings.Contains(e.Error(), "hunter2") {
		t.Errorf("the error has a secret in it: %v", e)
	}
}

func (f *fixture) wantCalls(n int64) {
	f.t.Helper()
	if got := f.as.calls.Load(); got != n {
		f.t.Errorf("asked %d times, want %d", got, n)
	}
}

func TestExchangeAsksAsTheStandardSays(t *testing.T) {
	t.Parallel()
	var got []string
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		id, secret, _ := r.BasicAuth()
		got = []string{r.Method, r.URL.String(), id, secret, r.PostForm.Encode()}
		answer(200, good("t-1"))(w, r)
	})
	f.want("t-1")
	want := []string{"POST", tokenURL, "gateway", "gateway-hunter2", url.Values{
		"grant_type":           {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":        {clientToken},
		"subject_token_type":   {"urn:ietf:params:oauth:token-type:access_token"},
		"requested_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		"audience":             {"weather"}, "scope": {"a b"},
	}.Encode()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got)\n%s", diff)
	}
	f.want("t-1", func(r *Request) { r.Server, r.Exchange.Audience, r.Exchange.Scopes = "other", "", nil })
	if strings.Contains(got[4], "audience") || strings.Contains(got[4], "scope") {
		t.Errorf("what is not configured is asked for: %s", got[4])
	}
}

// TestAnswers: what a token endpoint can say, and the rule that refuses it.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const refused, unavailable = extauthz.RuleExchangeRefused, extauthz.RuleExchangeUnavailable
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   extauthz.Rule
	}{
		"good":                     {answer(200, good("t-1")), ""},
		"a JWT":                    {answer(200, good("t-1", "issued_token_type", typeJWT)), ""},
		"bearer":                   {answer(200, good("t-1", "token_type", "bearer")), ""},
		"no expires_in":            {answer(200, good("t-1", "expires_in", nil)), ""},
		"further members":          {answer(200, good("t-1", "refresh_token", "hunter2", "scope", "x")), ""},
		"no connection":            {nil, unavailable},
		"status 500":               {answer(500, good("t-1")), unavailable},
		"status 503":               {answer(503, ""), unavailable},
		"status 429":               {answer(429, ""), unavailable},
		"panic in the transport":   {func(http.ResponseWriter, *http.Request) { panic("hunter2") }, unavailable},
		"too large":                {answer(200, good("t-1", "x", strings.Repeat("x", authserver.MaxAnswer))), unavailable},
		"invalid_grant":            {answer(400, obj{"error": "invalid_grant", "error_description": "hunter2"}), refused},
		"invalid_target":           {answer(400, obj{"error": "invalid_target"}), refused},
		"invalid_client":           {answer(401, obj{"error": "invalid_client"}), refused},
		"an error that is no text": {answer(400, obj{"error": obj{"hunter2": 1}}), refused},
		"400 with a token":         {answer(400, good("t-1")), refused},
		"201":                      {answer(201, good("t-1")), refused},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, refused},
		"HTML":                    {answer(200, "<html>hunter2</html>"), refused},
		"empty":                   {answer(200, ""), refused},
		"token twice":             {answer(200, `{"access_token":"a","access_token":"b","issued_token_type":"`+typeAccessToken+`","token_type":"Bearer"}`), refused},
		"no token":                {answer(200, good("t-1", "access_token", nil)), refused},
		"an empty token":          {answer(200, good("")), refused},
		"a token with a line":     {answer(200, good("a\r\nx-mcpgate-subject: root")), refused},
		"a token with a space":    {answer(200, good("a b")), refused},
		"a token that is too big": {answer(200, good(strings.Repeat("a", maxToken+1))), refused},
		"the client's token":      {answer(200, good(clientToken)), refused},
		"another kind of token":   {answer(200, good("t-1", "issued_token_type", "urn:ietf:params:oauth:token-type:refresh_token")), refused},
		"kind is missing":         {answer(200, good("t-1", "issued_token_type", nil)), refused},
		"DPoP":                    {answer(200, good("t-1", "token_type", "DPoP")), refused},
		"N_A":                     {answer(200, good("t-1", "token_type", "N_A")), refused},
		"type is missing":         {answer(200, good("t-1", "token_type", nil)), refused},
		"expired":                 {answer(200, good("t-1", "expires_in", 0)), refused},
		"negative":                {answer(200, good("t-1", "expires_in", -1)), refused},
		"expires_in is a text":    {answer(200, good("t-1", "expires_in", "300")), refused},
		"expires_in is huge":      {answer(200, good("t-1", "expires_in", 1e300)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, tt.answer)
			if tt.want == "" {
				f.want("t-1")
			} else {
				f.refuse(tt.want)
			}
		})
	}
}

func TestExchangeNeedsItsSecret(t *testing.T) {
	t.Parallel()
	f := newFixture(t, answer(200, good("t-1")))
	f.refuse(extauthz.RuleExchangeUnavailable, func(r *Request) { r.Exchange.ClientSecret = "env:UNSET" })
	f.wantCalls(0)
}

// TestTokensAreNotShared: whatever differs makes another exchange; a new
// client's token of the same caller as well, since it may be worth less.
func TestTokensAreNotShared(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) { answer(200, good(fmt.Sprint("t-", n.Add(1))))(w, r) })
	changes := []func(*Request){
		func(*Request) {},
		func(r *Request) { r.Caller.Issuer = "partner" },
		func(r *Request) { r.Caller.Subject = "bob" },
		func(r *Request) { r.Caller.Client = "" },
		func(r *Request) { r.Server = "other" },
		func(r *Request) { r.Generation = 4 },
		func(r *Request) { r.Token = "another" },
		// What would be the same if it were joined.
		func(r *Request) { r.Caller.Issuer, r.Caller.Subject = "corpa", "lice" },
	}
	for range 2 {
		for i, change := range changes {
			f.want(fmt.Sprint("t-", i+1), change)
		}
	}
	f.wantCalls(int64(len(changes)))
}

// TestTokenIsUsedNoLongerThanItLives: a margin before its end, not after the
// end of the client's own, an hour at most, and a minute when it does not say.
func TestTokenIsUsedNoLongerThanItLives(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer obj
		ends   time.Duration // the client's token
		life   time.Duration
	}{
		"five minutes":              {good("t", "expires_in", 300), time.Hour, 270 * time.Second},
		"ten seconds":               {good("t", "expires_in", 10), time.Hour, 8 * time.Second},
		"a part of a second":        {good("t", "expires_in", 0.5), time.Hour, 400 * time.Millisecond},
		"a day":                     {good("t", "expires_in", 86400), 24 * time.Hour, time.Hour - 30*time.Second},
		"not said":                  {good("t", "expires_in", nil), time.Hour, 48 * time.Second},
		"longer than the client's":  {good("t", "expires_in", 300), time.Minute, time.Minute},
		"the client's has ended by": {good("t", "expires_in", 300), -time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, answer(200, tt.answer))
			end := f.now().Add(tt.ends)
			ask := func() { f.t.Helper(); f.want("t", func(r *Request) { r.Caller.ExpiresAt = end }) }
			ask()
			f.wantCalls(1)
			if tt.life > 0 {
				f.clock.add(tt.life - time.Nanosecond)
				ask()
				f.wantCalls(1)
				f.clock.add(time.Nanosecond)
			}
			ask()
			f.wantCalls(2)
		})
	}
}

// TestFailuresAreRemembered: a refusal for five seconds, a failure for one, so
// that clients that try again do not hammer the authorization server.
func TestFailuresAreRemembered(t *testing.T) {
	t.Parallel()
	f := newFixture(t, answer(400, obj{"error": "invalid_grant"}))
	f.refuse(extauthz.RuleExchangeRefused)
	f.clock.add(refusedFor - 1)
	f.refuse(extauthz.RuleExchangeRefused)
	f.wantCalls(1)
	f.clock.add(1)
	f.as.handler = nil
	f.refuse(extauthz.RuleExchangeUnavailable)
	f.clock.add(failedFor - 1)
	f.refuse(extauthz.RuleExchangeUnavailable)
	f.wantCalls(2)
	f.clock.add(1)
	f.as.handler = answer(200, good("t-1"))
	f.want("t-1")
	f.wantCalls(3)
}

// TestSlowExchangeIsThereForTheRetry: a check gets its answer before its own
// time ends, the exchange goes on, and many who ask make one question.
func TestSlowExchangeIsThereForTheRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := &as{handler: func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(2 * time.Second) //nolint:forbidigo // on fake time
			answer(200, good("t-1"))(w, r)
		}}
		f := &fixture{t: t, as: slow, Client: New(Config{Secrets: secrets{}, Transport: slow})}
		t.Cleanup(f.Close)
		begin := time.Now()
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				defer cancel()
				got, err := f.Token(ctx, f.request())
				wantRule(t, got, err, extauthz.RuleExchangePending)
				if d := time.Since(begin); d != 450*time.Millisecond || ctx.Err() != nil {
					t.Errorf("answered after %s, %v", d, ctx.Err())
				}
			})
			all.Go(func() { f.want("t-1") }) // in no hurry
		}
		all.Wait()
		f.want("t-1")
		f.wantCalls(1)
	})
}

// TestFloodIsBounded: exchanges of different tokens at a silent server.
func TestFloodIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		silent := &as{handler: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}
		f := &fixture{t: t, as: silent, Client: New(Config{Secrets: secrets{}, Transport: silent})}
		t.Cleanup(f.Close)
		begin := time.Now()
		rules := make(chan extauthz.Rule, maxFlights+50)
		var all sync.WaitGroup
		for i := range maxFlights + 50 {
			all.Go(func() {
				_, err := f.get(func(r *Request) { r.Token = fmt.Sprint("t", i) })
				if e, ok := errors.AsType[*Error](err); ok {
					rules <- e.Rule
				}
			})
		}
		all.Wait()
		close(rules)
		got := map[extauthz.Rule]int{}
		for r := range rules {
			got[r]++
		}
		want := map[extauthz.Rule]int{extauthz.RuleOverload: 50, extauthz.RuleExchangeUnavailable: maxFlights}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("rules (-want +got)\n%s", diff)
		}
		if d := time.Since(begin); d != authserver.Timeout {
			t.Errorf("ended after %s, want %s", d, authserver.Timeout)
		}
	})
}

// TestCloseEndsWhatIsUnderWay: and nothing begins after it.
func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	began := make(chan struct{})
	f := newFixture(t, func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
	})
	done := make(chan error, 1)
	go func() {
		_, err := f.get()
		done <- err
	}()
	<-began
	f.Close()
	wantRule(t, "", <-done, extauthz.RuleExchangeUnavailable)
	f.refuse(extauthz.RuleExchangeUnavailable, func(r *Request) { r.Token = "another" })
	f.wantCalls(1)
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := newCache(100)
	for i := range 10_000 {
		c.put(key{generation: int64(i)}, result{token: "x"})
	}
	if n := len(c.young) + len(c.old); n > 100 {
		t.Errorf("%d results kept", n)
	}
	for i := range 1000 {
		c.put(key{generation: int64(i)}, result{token: strings.Repeat("x", maxToken)})
	}
	held := 0
	for _, m := range []map[key]result{c.young, c.old} {
		for _, r := range m {
			held += len(r.token)
		}
	}
	if held > 100*meanToken {
		t.Errorf("%d bytes kept", held)
	}
	// What is used stays.
	c = newCache(100)
	for i := range 1000 {
		c.put(key{generation: int64(i)}, result{})
		if _, ok := c.get(key{}); !ok {
			t.Fatalf("forgotten after %d", i)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, a := range []obj{good("t-1"), good("t-1", "expires_in", 1e300), good("a b")} {
		b, err := json.Marshal(a)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(200, b)
	}
	f.Add(400, []byte(`{"error":"x"}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		token, life, err := read(status, body, "https://as.example.com")
		switch {
		case err != nil && (token != "" || life != 0):
			t.Errorf("a token beside an error: %q", token)
		case err == nil && (status != 200 || life <= 0 || life > most || !isBearerToken(token)):
			t.Errorf("status %d, life %s, token %q", status, life, token)
		}
	})
}
