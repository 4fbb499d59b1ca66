package token

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/authserver"
	"github.com/mcpgate/mcpgate/registry"
)

// Bounds of introspection.
const (
	// activeFor is how long an answer is believed at most: so long can a token
	// that its issuer has revoked still be used.
	activeFor = time.Minute
	// refusedFor is how long a refused token is not asked for again.
	refusedFor = 5 * time.Second
	// maxRefused bounds the refused tokens remembered, of one issuer.
	maxRefused = 4096
	// maxLookups bounds the questions to one issuer that are under way or wait
	// for a connection; authserver bounds the connections.
	maxLookups = 256
)

// introspector asks one issuer about tokens (RFC 7662).
type introspector struct {
	settings registry.Introspection
	secrets  Secrets
	client   *authserver.Client
	now      func() time.Time
	log      *slog.Logger

	ctx    context.Context // the lifetime of the introspector, not of a call
	cancel context.CancelFunc
	work   *sync.WaitGroup

	mu      sync.Mutex
	stopped bool
	lookups map[digest]*lookup
	waiting int
	refused refusals
	// lastErr is why the last question had no answer, nil when it had one.
	lastErr error
}

// lookup is one question under way.
type lookup struct {
	done  chan struct{}
	entry *verified
	err   *Error
}

func newIntrospector(r *registry.Issuer, v *Verifier) *introspector {
	ctx, cancel := context.WithCancel(context.Background())
	return &introspector{
		settings: *r.Introspection,
		secrets:  v.secrets,
		client:   v.fetcher,
		now:      v.now,
		log:      v.log.With("issuer", r.Name),
		ctx:      ctx,
		cancel:   cancel,
		work:     &v.work,
		lookups:  make(map[digest]*lookup),
	}
}

// stop ends the questions under way; no other begins.
func (n *introspector) stop() {
	n.mu.Lock()
	n.stopped = true
	n.mu.Unlock()
	n.cancel()
}

// introspect is what the issuer says of a token. The same token is asked for
// once at a time; keep is called with an answer that says yes, also when nobody
// waits for it any more.
func (i *issuer) introspect(ctx context.Context, raw string, d digest, keep func(*verified)) (*verified, *Error) {
	n := i.introspector
	f, err := n.join(d, func() (*verified, *Error) { return i.ask(raw) }, keep) //nolint:contextcheck // a lookup is for all who wait, and outlives one of them
	if err != nil {
		return nil, err
	}
	defer n.leave()
	select {
	case <-f.done:
		return f.entry, f.err
	case <-ctx.Done():
		return nil, unavailablef(extauthz.RuleKeysUnavailable, "waiting for introspection: %v", ctx.Err())
	}
}

// join returns the lookup for d that is under way, or begins one.
func (n *introspector) join(d digest, ask func() (*verified, *Error), keep func(*verified)) (*lookup, *Error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.refused.get(d, n.now()); err != nil {
		return nil, err
	}
	f := n.lookups[d]
	switch {
	case n.stopped:
		return nil, removedError()
	case n.waiting >= maxWaiting:
		return nil, unavailablef(extauthz.RuleOverload, "more than %d checks wait for introspection", maxWaiting)
	case f == nil && len(n.lookups) >= maxLookups:
		return nil, unavailablef(extauthz.RuleOverload, "more than %d tokens are being introspected", maxLookups)
	}
	n.waiting++
	if f != nil {
		return f, nil
	}
	f = &lookup{done: make(chan struct{})}
	n.lookups[d] = f
	n.work.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				f.entry, f.err = nil, unavailablef(extauthz.RuleInternal, "introspection: panic: %T", p)
			}
			n.finish(d, f)
		}()
		if f.entry, f.err = ask(); f.err == nil {
			keep(f.entry)
		}
	})
	return f, nil
}

func (n *introspector) leave() {
	n.mu.Lock()
	n.waiting--
	n.mu.Unlock()
}

func (n *introspector) finish(d digest, f *lookup) {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer close(f.done)
	delete(n.lookups, d)
	switch {
	case n.stopped:
	case f.err != nil && f.err.Unavailable:
		if n.lastErr == nil {
			n.log.WarnContext(n.ctx, "introspection fails", "error", f.err.Reason)
		}
		n.lastErr = f.err
	default:
		if n.lastErr != nil {
			n.log.InfoContext(n.ctx, "introspection works again")
		}
		n.lastErr = nil
		if f.err != nil {
			n.refused.put(d, f.err, n.now())
		}
	}
}

// ask makes one question and judges its answer.
func (i *issuer) ask(raw string) (*verified, *Error) {
	n := i.introspector
	secret, err := n.secret()
	if err != nil {
		return nil, unavailablef(extauthz.RuleKeysUnavailable, "introspection: %v", err)
	}
	ctx, cancel := context.WithTimeout(n.ctx, authserver.Timeout)
	defer cancel()
	asked := n.now()
	form := url.Values{"token": {raw}, "token_type_hint": {"access_token"}}
	answer, err := n.client.Post(ctx, n.settings.URL, form, n.settings.ClientID, secret)
	if err != nil {
		return nil, unavailablef(extauthz.RuleKeysUnavailable, "introspection: %v", err)
	}
	if answer.Status != http.StatusOK {
		return nil, unavailablef(extauthz.RuleKeysUnavailable, "introspection: status %d", answer.Status)
	}
	c, err := readObject(answer.Body)
	if err != nil {
		return nil, unavailablef(extauthz.RuleKeysUnavailable, "introspection: the answer is not a strict JSON object: %v", err)
	}
	active, ok := c["active"].(bool)
	if !ok {
		return nil, unavailablef(extauthz.RuleKeysUnavailable, "introspection: the answer does not say whether the token is active")
	}
	if !active {
		return nil, refusef(extauthz.RuleTokenInactive, "the issuer %s says that the token is not active", i.name)
	}
	return i.judgeAnswer(c, asked)
}

func (n *introspector) secret() (string, error) {
	if n.secrets == nil {
		return "", fmt.Errorf("no secrets to resolve %s", n.settings.ClientSecret)
	}
	return n.secrets.Resolve(n.settings.ClientSecret)
}

// judgeAnswer applies the issuer's settings to what it said of a token.
func (i *issuer) judgeAnswer(c object, asked time.Time) (*verified, *Error) {
	if iss, present := c["iss"]; present && iss != i.url {
		return nil, refusef(extauthz.RuleTokenIssuer, "introspection: iss is not that of issuer %s", i.name)
	}
	if typ, present := c["token_type"]; present {
		s, _ := typ.(string)
		if !strings.EqualFold(s, "Bearer") && s != "access_token" {
			return nil, refusef(extauthz.RuleTokenType, "introspection: the token_type is not Bearer")
		}
	}
	// Some servers name the kind of the token as the standard names its hint.
	if c["token_use"] == "access_token" {
		c["token_use"] = "access"
	}
	e, err := i.judgeClaims(c, true, i.introspector.now())
	if err != nil {
		return nil, err
	}
	if e.until = asked.Add(activeFor); e.expires.Before(e.until) {
		e.until = e.expires
	}
	return e, nil
}

// refusals are tokens refused a short time ago. Like cache, it has two maps,
// of which the older is forgotten when the younger is full.
type refusals struct{ young, old map[digest]refusal }

type refusal struct {
	err   *Error
	until time.Time
}

func (r *refusals) get(d digest, now time.Time) *Error {
	for _, m := range []map[digest]refusal{r.young, r.old} {
		if x, ok := m[d]; ok && now.Before(x.until) {
			return x.err
		}
	}
	return nil
}

func (r *refusals) put(d digest, err *Error, now time.Time) {
	if r.young == nil || len(r.young) >= maxRefused/2 {
		r.old, r.young = r.young, make(map[digest]refusal)
	}
	r.young[d] = refusal{err, now.Add(refusedFor)}
}
