package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/authserver"
	"github.com/mcpgate/mcpgate/registry"
)

// Pace of the fetches of one issuer.
const (
	// askInterval is the least time between two fetches made for an unknown
	// kid: forged tokens cause no more than that.
	askInterval = 10 * time.Second
	// retryInterval is the least time between two fetches while there are no
	// usable keys, and the first step of the back-off after a failure.
	retryInterval = time.Second
	maxRetry      = time.Minute
	// unknownFor is how long a kid that a fetch did not bring is not asked for
	// again: one client with an old token does not use up the pace of all.
	unknownFor = 30 * time.Second
	// maxWaiting bounds the checks that wait for one fetch.
	maxWaiting = 1024
	// rediscover is how long the metadata document is trusted while the key
	// set it names can be fetched.
	rediscover = time.Hour
)

// source keeps the key set of one issuer: a background loop refreshes it, and
// find fetches it when a token names a key that it does not have. All fetches
// of a source go one at a time; who comes meanwhile waits for that one.
type source struct {
	url, jwksURI string
	ofLoopback   bool
	refresh      time.Duration
	maxStale     time.Duration
	fetcher      *authserver.Client
	now          func() time.Time
	log          *slog.Logger

	ctx     context.Context // the lifetime of the source, not of a call
	cancel  context.CancelFunc
	work    *sync.WaitGroup
	waiting atomic.Int64

	// published is what checks read without a lock; nil before the first set.
	published atomic.Pointer[publication]

	mu       sync.Mutex
	stopped  bool
	inflight *fetch
	asked    time.Time            // when an unknown kid last caused a fetch
	began    time.Time            // when the last fetch began
	ended    time.Time            // when the last fetch ended
	failures int                  // fetches failed in a row
	lastErr  error                // of the last fetch
	unknown  map[string]time.Time // kids that a fetch did not bring, and when

	// Of the fetch in flight alone.
	discovered   string
	discoveredAt time.Time
}

// publication is a key set and the time at which the issuer last confirmed it.
type publication struct {
	keys *keySet
	at   time.Time
}

// fetch is one fetch in flight.
type fetch struct{ done chan struct{} }

// newSource starts to keep the keys of r. The last known set of the same
// place, which may be nil, serves until the first fetch. work counts the
// goroutines; they end some time after stop.
func newSource(r *registry.Issuer, v *Verifier, last *publication) *source {
	ctx, cancel := context.WithCancel(context.Background())
	s := &source{
		url:      r.Issuer,
		jwksURI:  r.JWKSURI,
		refresh:  max(r.Keys.Refresh.Or(registry.DefaultKeyRefresh), retryInterval),
		maxStale: r.Keys.MaxStale.Or(registry.DefaultKeyMaxStale),
		fetcher:  v.fetcher,
		now:      v.now,
		log:      v.log.With("issuer", r.Name),
		ctx:      ctx,
		cancel:   cancel,
		work:     &v.work,
		unknown:  make(map[string]time.Time),
	}
	if u, err := url.Parse(r.Issuer); err == nil {
		s.ofLoopback = authserver.IsLoopback(u)
	}
	if last != nil {
		s.published.Store(last)
	}
	// Begun here, so that whoever asks first joins it: a start is one fetch.
	first := s.renew()
	s.work.Go(func() { s.run(first) })
	return s
}

// stop ends the loop and the fetch in flight; no other begins.
func (s *source) stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.cancel()
}

// has reports whether keys is the current set, and not too old to be used.
func (s *source) has(keys *keySet, now time.Time) bool {
	p := s.published.Load()
	return p != nil && p.keys == keys && s.fresh(p, now)
}

// fresh uses the monotonic clock when both times have it, so that a step of
// the wall clock neither prolongs nor ends the life of the keys.
func (s *source) fresh(p *publication, now time.Time) bool { return now.Sub(p.at) <= s.maxStale }

// find returns the one key for t and the set it is from. It may wait for a
// fetch, as long as ctx allows.
func (s *source) find(ctx context.Context, t *jws) (*key, *keySet, *Error) {
	// A fetch that was in flight when the question came up may have begun
	// before the key was published: one more is then in order.
	for range 3 {
		p := s.published.Load()
		usable := p != nil && s.fresh(p, s.now())
		if usable {
			k, err := p.keys.find(t)
			if err == nil {
				return k, p.keys, nil
			}
			if refusal, ok := errors.AsType[*Error](err); ok {
				return nil, nil, refusal
			}
		}
		f, err := s.ask(p, usable, t.keyID) //nolint:contextcheck // a fetch is for all who wait, and outlives one of them
		if err != nil {
			return nil, nil, err
		}
		if err := s.wait(ctx, f); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, unavailablef(extauthz.RuleKeysUnavailable, "the keys change faster than they can be looked at")
}

// ask joins the fetch in flight or begins one, if the pace allows it. seen is
// the publication in which the answer was not found.
func (s *source) ask(seen *publication, usable bool, kid string) (*fetch, *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inflight != nil {
		return s.inflight, nil
	}
	if s.published.Load() != seen {
		look := &fetch{done: make(chan struct{})}
		close(look.done)
		return look, nil
	}
	if s.stopped {
		return nil, removedError()
	}
	now := s.now()
	if !usable {
		if s.failures > 0 && now.Sub(s.ended) < retryInterval {
			return nil, unavailablef(extauthz.RuleKeysUnavailable, "no usable keys: %v", s.lastErr)
		}
		return s.begin(now), nil
	}
	if at, ok := s.unknown[kid]; ok && now.Sub(at) < unknownFor {
		return nil, refusef(extauthz.RuleTokenKey, "no key with kid %s", quote(kid))
	}
	if !s.asked.IsZero() && now.Sub(s.asked) < askInterval {
		if s.failures > 0 {
			return nil, unavailablef(extauthz.RuleKeysUnavailable, "no key with kid %s, and no newer keys: %v", quote(kid), s.lastErr)
		}
		return nil, refusef(extauthz.RuleTokenKey, "no key with kid %s", quote(kid))
	}
	s.asked = now
	s.remember(kid, now)
	return s.begin(now), nil
}

func removedError() *Error {
	return unavailablef(extauthz.RuleKeysUnavailable, "the issuer is being removed or changed")
}

// remember notes that a fetch is made for kid; if the fetch brings the key, or
// any other change, or fails, the note is dropped.
func (s *source) remember(kid string, now time.Time) {
	for k, at := range s.unknown { // askInterval keeps them few
		if now.Sub(at) >= unknownFor {
			delete(s.unknown, k)
		}
	}
	s.unknown[kid] = now
}

func (s *source) wait(ctx context.Context, f *fetch) *Error {
	if s.waiting.Add(1) > maxWaiting {
		s.waiting.Add(-1)
		return unavailablef(extauthz.RuleKeysUnavailable, "more than %d checks wait for keys", maxWaiting)
	}
	defer s.waiting.Add(-1)
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return unavailablef(extauthz.RuleKeysUnavailable, "waiting for keys: %v", ctx.Err())
	case <-s.ctx.Done():
		return removedError()
	}
}

// begin starts a fetch. s.mu is held, none is in flight, and the source is not
// stopped.
func (s *source) begin(now time.Time) *fetch {
	f := &fetch{done: make(chan struct{})}
	s.inflight, s.began = f, now
	s.work.Go(func() {
		keys, err := s.fetch(now)
		s.finish(f, keys, err)
	})
	return f
}

// finish publishes what a fetch brought. A failure leaves the last good keys
// as they are.
func (s *source) finish(f *fetch, keys *keySet, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(f.done)
	s.inflight, s.ended = nil, s.now()
	if s.stopped {
		return
	}
	if err != nil {
		clear(s.unknown) // nothing was learned about them
		if s.failures++; s.failures == 1 {
			s.log.WarnContext(s.ctx, "issuer keys not refreshed", "error", err)
		}
		s.lastErr = err
		return
	}
	if s.failures > 0 {
		s.log.InfoContext(s.ctx, "issuer keys refreshed again", "failures", s.failures)
	}
	s.failures, s.lastErr = 0, nil
	last := s.published.Load()
	if last != nil && last.keys.content == keys.content {
		keys = last.keys
	} else {
		clear(s.unknown)
		s.log.InfoContext(s.ctx, "issuer keys changed", "keys", len(keys.keys), "skipped", keys.skipped)
	}
	// The age counts from the start: what the issuer said is at least that old.
	s.published.Store(&publication{keys: keys, at: s.began})
}

// fetch gets the key set. It never panics, whatever the issuer sends.
func (s *source) fetch(now time.Time) (keys *keySet, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("read key set: panic: %v", r)
		}
	}()
	ctx, cancel := context.WithTimeout(s.ctx, authserver.Timeout)
	defer cancel()
	location := s.jwksURI
	if location == "" {
		if s.discovered == "" || now.Sub(s.discoveredAt) > rediscover {
			if s.discovered, err = discover(ctx, s.fetcher, s.url); err != nil {
				return nil, err
			}
			s.discoveredAt = now
		}
		location = s.discovered
	}
	data, err := s.fetcher.Get(ctx, location, s.ofLoopback)
	if err == nil {
		keys, err = parseKeySet(data)
	}
	if err != nil {
		s.discovered = "" // it may have moved
		return nil, err
	}
	return keys, nil
}

// run refreshes the keys until the source is stopped. f is the first fetch,
// which newSource began.
func (s *source) run(f *fetch) {
	for f != nil {
		select {
		case <-s.ctx.Done():
			return
		case <-f.done:
		}
		timer := time.NewTimer(s.next())
		select {
		case <-s.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		f = s.renew()
	}
}

// renew begins a fetch, or joins the one in flight. It returns nil when the
// source is stopped.
func (s *source) renew() *fetch {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped:
		return nil
	case s.inflight != nil:
		return s.inflight
	}
	return s.begin(s.now())
}

// next is the time to the next refresh: shortened by up to a tenth so that many
// gateways do not keep step; after failures, a back-off.
func (s *source) next() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, spread := min(s.refresh, max(s.maxStale, retryInterval)), 10
	if s.failures > 0 {
		d, spread = min(d, maxRetry, retryInterval<<min(s.failures-1, 6)), 2
	}
	return d - rand.N(d/time.Duration(spread)+1) //nolint:gosec // spreads load, hides nothing
}
