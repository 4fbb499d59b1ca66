package token_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcpgate/mcpgate/extauthz/token"
)

func TestMetadataIsTheIssuersOwnDocument(t *testing.T) {
	t.Parallel()
	var (
		asked    atomic.Int64
		document atomic.Pointer[string]
		clock    atomic.Int64
	)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		doc := document.Load()
		if r.URL.Path != "/.well-known/oauth-authorization-server" || doc == nil {
			http.NotFound(w, r)
			return
		}
		asked.Add(1)
		_, _ = w.Write([]byte(*doc))
	}))
	t.Cleanup(srv.Close)
	m := token.NewMetadata(nil, func() time.Time { return time.Unix(clock.Load(), 0) })

	if _, err := m.Get(t.Context(), srv.URL); err == nil {
		t.Error("a document that is not there was found")
	}
	good := `{ "issuer":"` + srv.URL + `", "jwks_uri":"` + srv.URL + `/jwks", "x":1}`
	document.Store(&good)
	if _, err := m.Get(t.Context(), srv.URL); err == nil || asked.Load() != 0 {
		t.Errorf("asked %d times, error %v: not again so soon after a failure", asked.Load(), err)
	}
	clock.Add(11)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if got, err := m.Get(t.Context(), srv.URL); err != nil || string(got) != good {
				t.Errorf("got %q, %v, want the issuer's own bytes", got, err)
			}
		})
	}
	wg.Wait()
	if asked.Load() != 1 {
		t.Errorf("ten callers asked %d times, want one", asked.Load())
	}
	other := `{"issuer":"https://evil.example","jwks_uri":"` + srv.URL + `/jwks"}`
	document.Store(&other)
	if got, err := m.Get(t.Context(), srv.URL); err != nil || string(got) != good {
		t.Errorf("a fresh document was not used: %q, %v", got, err)
	}
	clock.Add(301)
	if got, err := m.Get(t.Context(), srv.URL); err == nil {
		t.Errorf("another issuer's document was passed on: %q", got)
	}
}
