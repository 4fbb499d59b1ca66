package exchange

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/authserver"
	"github.com/mcpgate/mcpgate/registry"
)

// Bounds of a Client.
const (
	// DefaultEntries is the number of tokens kept when Config names none.
	DefaultEntries = 16384
	// maxFlights bounds the exchanges under way.
	maxFlights = 256
	// maxWaiting bounds the checks that wait for one.
	maxWaiting = 4096
	// reservePart is the part of a check's time that is left for its answer: a
	// tenth, and at least minReserve.
	reservePart = 10
	minReserve  = 50 * time.Millisecond
	// refusedFor is how long a refusal stands, and failedFor a failure, before
	// the authorization server is asked again.
	refusedFor = 5 * time.Second
	failedFor  = time.Second
)

// Secrets resolves references to secrets; *secret.Resolver is one.
type Secrets interface {
	Resolve(ref registry.SecretRef) (string, error)
}

// Config is what a Client needs. Secrets must be set.
type Config struct {
	Secrets Secrets
	// Transport makes the requests. Nil is a transport that checks every address
	// it connects to; another one must do so itself.
	Transport http.RoundTripper
	// Entries bounds the cache; DefaultEntries when zero.
	Entries int
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// Request names what is to be traded, and for what.
type Request struct {
	// Exchange, Server and Generation are the upstream's.
	Exchange   *registry.Exchange
	Server     string
	Generation int64
	// Caller is whom Token speaks for. Token is verified.
	Caller *extauthz.Caller
	Token  string
}

// Error is why there is no token. Every error of Token is one.
type Error struct {
	// Rule is RuleExchangePending, RuleExchangeUnavailable, RuleExchangeRefused
	// or RuleOverload.
	Rule extauthz.Rule
	// Reason is for the operator only; no token and no secret is in it.
	Reason string
}

// Error implements error.
func (e *Error) Error() string { return string(e.Rule) + ": " + e.Reason }

func failf(rule extauthz.Rule, format string, args ...any) *Error {
	return &Error{Rule: rule, Reason: fmt.Sprintf(format, args...)}
}

// Client exchanges tokens. It is safe for concurrent use.
type Client struct {
	http    *authserver.Client
	secrets Secrets
	now     func() time.Time
	ctx     context.Context // the lifetime of the Client, not of a call
	cancel  context.CancelFunc
	work    sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	cache   cache
	flights map[key]*flight
	waiting int
}

// key is the whole of what an exchanged token is for. The digest stands for
// the client's token: another one of the same caller can be worth less.
type key struct {
	issuer, subject, client, server string
	generation                      int64
	token                           [sha256.Size]byte
}

// flight is an exchange under way.
type flight struct {
	done   chan struct{}
	result result
}

// result is an exchanged token or why there is none.
type result struct {
	token string
	err   *Error
	// until is the time up to which the result stands.
	until time.Time
}

// New returns a Client.
func New(c Config) *Client {
	ctx, cancel := context.WithCancel(context.Background())
	x := &Client{
		http:    authserver.New(c.Transport),
		secrets: c.Secrets,
		now:     c.Now,
		ctx:     ctx,
		cancel:  cancel,
		cache:   newCache(cmp.Or(c.Entries, DefaultEntries)),
		flights: make(map[key]*flight),
	}
	if x.now == nil {
		x.now = time.Now
	}
	return x
}

// Close ends the exchanges under way and waits for their end. No other begins.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.work.Wait()
	c.http.Close()
}

// Token returns a token for the upstream, or an *Error. It returns shortly
// before ctx ends; the exchange goes on, and a later call gets its result.
func (c *Client) Token(ctx context.Context, r Request) (string, error) {
	k := key{
		issuer: r.Caller.Issuer, subject: r.Caller.Subject, client: r.Caller.Client,
		server: r.Server, generation: r.Generation, token: sha256.Sum256([]byte(r.Token)),
	}
	f, known, err := c.join(k, r) //nolint:contextcheck // an exchange is for all who wait, and outlives one of them
	switch {
	case err != nil:
		return "", err
	case f == nil:
		return known.token, known.asError()
	}
	defer c.leave()
	ctx, cancel := withReserve(ctx)
	defer cancel()
	select {
	case <-f.done:
		return f.result.token, f.result.asError()
	case <-ctx.Done():
		return "", failf(extauthz.RuleExchangePending, "the exchange at %s takes longer than the check may", r.Exchange.TokenURL)
	}
}

// asError is the error, without a type when there is none.
func (r result) asError() error {
	if r.err != nil {
		return r.err
	}
	return nil
}

// withReserve ends a little before ctx does.
func withReserve(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(ctx, deadline.Add(-max(minReserve, time.Until(deadline)/reservePart)))
	}
	return context.WithCancel(ctx)
}

// join returns what is known for k, or else the flight for it, which it begins
// if none is under way.
func (c *Client) join(k key, r Request) (*flight, result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.cache.get(k); ok && c.now().Before(known.until) {
		return nil, known, nil
	}
	f := c.flights[k]
	switch {
	case c.closed:
		return nil, result{}, failf(extauthz.RuleExchangeUnavailable, "shutting down")
	case c.waiting >= maxWaiting:
		return nil, result{}, failf(extauthz.RuleOverload, "more than %d checks wait for an exchange", maxWaiting)
	case f == nil && len(c.flights) >= maxFlights:
		return nil, result{}, failf(extauthz.RuleOverload, "more than %d tokens are being exchanged", maxFlights)
	}
	c.waiting++
	if f == nil {
		f = &flight{done: make(chan struct{})}
		c.flights[k] = f
		c.work.Go(func() { c.fly(k, r, f) })
	}
	return f, result{}, nil
}

func (c *Client) leave() {
	c.mu.Lock()
	c.waiting--
	c.mu.Unlock()
}

// fly makes one exchange and keeps its result.
func (c *Client) fly(k key, r Request, f *flight) {
	defer func() {
		if p := recover(); p != nil {
			// The value of a panic could hold anything.
			f.result = result{err: failf(extauthz.RuleExchangeUnavailable, "panic: %T", p)}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.flights, k)
		if err := f.result.err; err != nil {
			f.result.until = c.now().Add(failedFor)
			if err.Rule == extauthz.RuleExchangeRefused {
				f.result.until = c.now().Add(refusedFor)
			}
		}
		if !c.closed {
			c.cache.put(k, f.result)
		}
		close(f.done)
	}()
	ctx, cancel := context.WithTimeout(c.ctx, authserver.Timeout)
	defer cancel()
	f.result = c.trade(ctx, r)
}
