package token

import (
	"cmp"
	"context"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/authserver"
	"github.com/mcpgate/mcpgate/registry"
)

// DefaultCacheEntries is the number of verified tokens kept when Config names
// none.
const DefaultCacheEntries = 65536

// Config is what a Verifier needs. Its zero value works.
type Config struct {
	// Log gets the changes and failures of key sets; never anything of a token.
	Log *slog.Logger
	// Transport fetches metadata and key sets. Nil is a transport that checks
	// every address it connects to; another one must do so itself.
	Transport http.RoundTripper
	// CacheEntries bounds the cache of verified tokens; DefaultCacheEntries
	// when zero.
	CacheEntries int
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// Verifier verifies access tokens of the Issuers it was given. It is safe for
// concurrent use.
type Verifier struct {
	log     *slog.Logger
	now     func() time.Time
	fetcher *authserver.Client
	cache   *cache
	flights *flights
	work    sync.WaitGroup
	// hits and misses of the cache.
	hits, misses atomic.Uint64

	mu     sync.RWMutex
	closed bool
	byName map[string]*issuer
	// byURL has the issuers of each issuer URL in the order of their names.
	byURL map[string][]*issuer
}

// New returns a Verifier that knows no issuer yet.
func New(c Config) *Verifier {
	v := &Verifier{
		log:     c.Log,
		now:     c.Now,
		fetcher: authserver.New(c.Transport),
		cache:   newCache(cmp.Or(c.CacheEntries, DefaultCacheEntries)),
		flights: newFlights(),
		byName:  make(map[string]*issuer),
		byURL:   make(map[string][]*issuer),
	}
	if v.log == nil {
		v.log = slog.New(slog.DiscardHandler)
	}
	if v.now == nil {
		v.now = time.Now
	}
	return v
}

// Close stops all background work and waits for its end. Tokens are refused
// from then on.
func (v *Verifier) Close() {
	v.mu.Lock()
	v.closed = true
	for _, i := range v.byName {
		i.retire()
	}
	clear(v.byName)
	clear(v.byURL)
	v.mu.Unlock()
	v.work.Wait()
	v.fetcher.Close()
}

// SetIssuer adds an issuer, or changes the settings of the one with the same
// name; equal settings change nothing. It does not wait for the issuer's keys; tokens that come before them
// do. Tokens accepted under other settings are verified anew. r must be valid
// (registry.Validate) and is not kept.
func (v *Verifier) SetIssuer(r *registry.Issuer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return
	}
	next := compile(r)
	var last *publication
	if old := v.byName[r.Name]; old != nil {
		if reflect.DeepEqual(old.settings, next.settings) {
			return
		}
		if old.source.url == r.Issuer && old.source.jwksURI == r.JWKSURI {
			last = old.source.published.Load()
		}
		v.remove(old)
	}
	next.source = newSource(r, v, last)
	v.byName[next.name] = next
	same := append(slices.Clone(v.byURL[next.url]), next)
	slices.SortFunc(same, func(a, b *issuer) int { return cmp.Compare(a.name, b.name) })
	v.byURL[next.url] = same
}

// RemoveIssuer forgets an issuer; its tokens are refused from then on.
func (v *Verifier) RemoveIssuer(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if i := v.byName[name]; i != nil {
		v.remove(i)
	}
}

// remove takes i out of the tables; v.mu is held.
func (v *Verifier) remove(i *issuer) {
	i.retire()
	delete(v.byName, i.name)
	rest := slices.DeleteFunc(slices.Clone(v.byURL[i.url]), func(o *issuer) bool { return o == i })
	if len(rest) == 0 {
		delete(v.byURL, i.url)
	} else {
		v.byURL[i.url] = rest
	}
}

func (i *issuer) retire() {
	i.retired.Store(true)
	i.source.stop()
}

// Want is what a server accepts.
type Want struct {
	// Issuers are names of Issuers; nil means every one.
	Issuers []string
	// Audiences are the server's; those of the token's issuer are accepted too.
	// When neither has one, nothing is accepted.
	Audiences []string
}

func (w Want) accepts(i *issuer) bool {
	return w.Issuers == nil || slices.Contains(w.Issuers, i.name)
}

// Verify returns whom the token speaks for, or an *Error. It may wait for an
// issuer's keys or for a processor, as long as ctx allows. The caller returned
// is shared and must not be changed.
func (v *Verifier) Verify(ctx context.Context, rawToken string, want Want) (*extauthz.Caller, error) {
	if len(rawToken) > MaxBytes { // before it is hashed
		return nil, refusef(extauthz.RuleTokenTooLarge, "the token has %d bytes, more than %d", len(rawToken), MaxBytes)
	}
	var buf [2048]byte // most tokens fit: no copy on the heap
	d := digest(sha256.Sum256(append(buf[:0], rawToken...)))
	if e := v.cache.get(d); e != nil && want.accepts(e.issuer) {
		now := v.now()
		if e.current(now) && e.check(now) == nil {
			if err := accepts(e.aud, want.Audiences, e.issuer.audiences); err != nil {
				return nil, err
			}
			v.hits.Add(1)
			return e.caller, nil
		}
		v.cache.drop(d, e)
	}
	v.misses.Add(1)
	e, err := v.verify(ctx, rawToken, d, want)
	if err != nil {
		return nil, err
	}
	return e.caller, nil
}

// verify judges a token that is not in the cache.
func (v *Verifier) verify(ctx context.Context, rawToken string, d digest, want Want) (*verified, *Error) {
	t, err := parse(rawToken)
	if err != nil {
		return nil, err
	}
	for {
		v.mu.RLock()
		candidates, closed := v.byURL[t.iss], v.closed
		v.mu.RUnlock()
		if closed {
			return nil, unavailablef(extauthz.RuleKeysUnavailable, "shutting down")
		}
		e, err := v.verifyAmong(ctx, candidates, t, d, want)
		if err == nil {
			v.cache.put(d, e, len(rawToken))
			return e, nil
		}
		changed := slices.ContainsFunc(candidates, func(i *issuer) bool { return i.retired.Load() })
		if !err.Unavailable || !changed || ctx.Err() != nil {
			return nil, err
		}
	}
}

// verifyAmong asks the issuers that share the URL of the token, in the order of
// their names. Each judges alone, by its own settings; the first refusal is the
// answer, unless another could not judge.
func (v *Verifier) verifyAmong(ctx context.Context, candidates []*issuer, t *jws, d digest, want Want) (*verified, *Error) {
	var refusal *Error
	for _, i := range candidates {
		if !want.accepts(i) {
			continue
		}
		e, err := v.verifyFor(ctx, i, t, d, want)
		if err == nil {
			return e, nil
		}
		if refusal == nil || err.Unavailable && !refusal.Unavailable {
			refusal = err
		}
	}
	if refusal == nil {
		return nil, refusef(extauthz.RuleTokenIssuer, "iss %s is not an issuer accepted here", quote(t.iss))
	}
	return nil, refusal
}

func (v *Verifier) verifyFor(ctx context.Context, i *issuer, t *jws, d digest, want Want) (*verified, *Error) {
	e, err := i.judge(t, v.now())
	if err != nil {
		return nil, err
	}
	if err := accepts(e.aud, want.Audiences, i.audiences); err != nil {
		return nil, err
	}
	k, keys, err := i.source.find(ctx, t)
	if err != nil {
		return nil, err
	}
	err = v.flights.verify(ctx, flightKey{d, k}, func() *Error {
		if err := k.verify(t); err != nil {
			return refusef(extauthz.RuleTokenSignature, "%v", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	e.keys = keys
	return e, nil
}
