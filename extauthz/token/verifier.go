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

// Secrets resolves references to secrets; *secret.Resolver is one.
type Secrets interface {
	Resolve(ref registry.SecretRef) (string, error)
}

// Config is what a Verifier needs. Its zero value works.
type Config struct {
	// Secrets has the gateway's own, for introspection. Without them nothing
	// can be introspected.
	Secrets Secrets
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
	secrets Secrets
	fetcher *authserver.Client
	cache   *cache
	flights *flights
	work    sync.WaitGroup
	// hits and misses of the cache.
	hits, misses atomic.Uint64

	mu     sync.RWMutex
	closed bool
	byName map[string]*issuer
	// byURL has the issuers of each issuer URL in the order of their names,
	// those with introspection left out: they are in opaque.
	byURL  map[string][]*issuer
	opaque []*issuer
}

// New returns a Verifier that knows no issuer yet.
func New(c Config) *Verifier {
	v := &Verifier{
		log:     c.Log,
		now:     c.Now,
		secrets: c.Secrets,
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
	v.opaque = nil
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
		if old.source != nil && old.source.url == r.Issuer && old.source.jwksURI == r.JWKSURI {
			last = old.source.published.Load()
		}
		v.remove(old)
	}
	v.byName[next.name] = next
	if r.Introspection != nil {
		next.introspector = newIntrospector(r, v)
		v.opaque = withIssuer(v.opaque, next)
		return
	}
	next.source = newSource(r, v, last)
	v.byURL[next.url] = withIssuer(v.byURL[next.url], next)
}

// withIssuer is the list, in the order of the names, with i in it. The old one
// may be read by others.
func withIssuer(list []*issuer, i *issuer) []*issuer {
	list = append(slices.Clone(list), i)
	slices.SortFunc(list, func(a, b *issuer) int { return cmp.Compare(a.name, b.name) })
	return list
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
	without := func(list []*issuer) []*issuer {
		return slices.DeleteFunc(slices.Clone(list), func(o *issuer) bool { return o == i })
	}
	if i.introspector != nil {
		v.opaque = without(v.opaque)
		return
	}
	rest := without(v.byURL[i.url])
	if len(rest) == 0 {
		delete(v.byURL, i.url)
	} else {
		v.byURL[i.url] = rest
	}
}

func (i *issuer) retire() {
	i.retired.Store(true)
	if i.introspector != nil {
		i.introspector.stop()
		return
	}
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
		if e.current(now) && e.check(now) == nil && v.assigned(e, want) {
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
	var t *jws
	iss := ""
	if looksSigned(rawToken) {
		var err *Error
		if t, err = parse(rawToken); err != nil {
			return nil, err
		}
		iss = t.iss
	}
	for {
		v.mu.RLock()
		candidates, closed := v.byURL[iss], v.closed
		asked, err := v.introspecting(iss, want)
		v.mu.RUnlock()
		if closed {
			return nil, unavailablef(extauthz.RuleKeysUnavailable, "shutting down")
		}
		var e *verified
		switch {
		case err != nil:
			return nil, err
		case asked != nil:
			candidates = []*issuer{asked}
			e, err = v.introspect(ctx, asked, iss, rawToken, d, want)
		case t == nil:
			if _, err = parse(rawToken); err == nil {
				err = refusef(extauthz.RuleTokenMalformed, "neither a JWT nor an opaque token")
			}
			return nil, err
		default:
			if e, err = v.verifyAmong(ctx, candidates, t, d, want); err == nil {
				v.cache.put(d, e, len(rawToken))
			}
		}
		if err == nil {
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

// introspect asks the issuer about a token. What it says is kept whether or
// not this server accepts the audience, which every use looks at.
func (v *Verifier) introspect(ctx context.Context, i *issuer, iss, raw string, d digest, want Want) (*verified, *Error) {
	if err := checkOpaque(raw); err != nil {
		return nil, err
	}
	e, err := i.introspect(ctx, raw, d, func(e *verified) {
		e.iss = iss
		v.cache.put(d, e, len(raw))
	})
	if err != nil {
		return nil, err
	}
	if err := accepts(e.aud, want.Audiences, i.audiences); err != nil {
		return nil, err
	}
	return e, nil
}

// assigned reports whether a cached token is still one for its issuer: another
// Issuer may have come that makes it another's, or nobody's.
func (v *Verifier) assigned(e *verified, want Want) bool {
	if e.issuer.introspector == nil {
		return true
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	i, err := v.introspecting(e.iss, want)
	return err == nil && i == e.issuer
}
