package extauthz

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcpgate/mcpgate/registry"
)

// Config is what the compilation needs besides the registry.
type Config struct {
	// ExternalURL is the origin under which clients reach the gateway, without
	// a trailing slash.
	ExternalURL string
}

// Policies are the compiled policies of all servers. Any number of goroutines
// may read while one loads or applies changes; a reader sees one revision of
// the registry in full, never a mixture of two. Readers take no lock.
type Policies struct {
	cfg  Config
	view atomic.Pointer[view]

	// mu guards what only the writer uses.
	mu     sync.Mutex
	source source
}

// view is one revision. It is immutable once it is in Policies.view.
type view struct {
	revision int64
	// servers holds the enabled ones, their view field unset.
	servers trie[*ServerPolicy]
	// closures holds, of each scope that includes others, all those, sorted.
	closures trie[[]string]
	// includers holds, of each scope that others include, those others, sorted.
	includers trie[[]string]
	groups    trie[*registry.Group]
	// revocations are those of all servers.
	revocations revocations
	// issuers is sorted by name.
	issuers []issuer
	// wild is what scopes grant on every server, shared by all.
	wild grants
}

type issuer struct{ name, url string }

// ServerPolicy is the compiled policy of one server at one revision. It is
// immutable.
type ServerPolicy struct {
	Name string
	// Title is empty when the server has none.
	Title      string
	Generation int64
	// Resource is the server's public URL and its resource identifier
	// (RFC 9728).
	Resource string
	// MetadataURL is where the protected resource metadata of Resource is.
	MetadataURL string
	// Issuers are the names of the Issuers whose tokens are accepted; nil means
	// every Issuer.
	Issuers []string
	// Audiences are those that a token may carry; an Issuer adds its own.
	Audiences []string
	// Baseline are the scopes that a client without a token is asked to get.
	Baseline []string

	// grants are those of the scopes that name the server.
	grants grants
	// upstreams are the current one first, then those it replaced.
	upstreams []retained
	view      *view
}

// Upstream is what the gateway adds to a request for one generation of a
// server's upstream.
type Upstream struct {
	Generation int64
	// Credential is nil when the upstream gets none.
	Credential         *registry.Credential
	ForwardClientToken bool
	// Exchange is nil when the client's token is not exchanged.
	Exchange *registry.Exchange
}

// retained is an Upstream and when it was replaced.
type retained struct {
	Upstream
	replaced time.Time
}

// NewPolicies returns policies without servers, at revision 0.
func NewPolicies(cfg Config) *Policies {
	p := &Policies{cfg: cfg, source: newSource()}
	p.view.Store(&view{
		servers:   newTrie[*ServerPolicy](),
		closures:  newTrie[[]string](),
		includers: newTrie[[]string](),
		groups:    newTrie[*registry.Group](),

		revocations: newRevocations(),
	})
	return p
}

// Server returns the policy of the named server; ok is false when there is
// none, or it is disabled.
func (p *Policies) Server(name string) (policy *ServerPolicy, ok bool) {
	v := p.view.Load()
	s, ok := v.servers.get(name)
	if !ok {
		return nil, false
	}
	seen := *s
	seen.view = v
	return &seen, true
}

// Revision is the revision of the registry that readers see now.
func (p *Policies) Revision() int64 { return p.view.Load().revision }

// ExternalURL is the origin under which clients reach the gateway.
func (p *Policies) ExternalURL() string { return p.cfg.ExternalURL }

// IssuerURLs are the issuer identifiers of every Issuer, in the order of their
// names.
func (p *Policies) IssuerURLs() []string { return p.view.Load().issuerURLs(nil) }

// IssuerURLs are the issuer identifiers of the Issuers that the server
// accepts, in the order of their names.
func (s *ServerPolicy) IssuerURLs() []string { return s.view.issuerURLs(s.Issuers) }

func (v *view) issuerURLs(names []string) []string {
	var urls []string
	for _, i := range v.issuers {
		if names == nil || slices.Contains(names, i.name) {
			urls = append(urls, i.url)
		}
	}
	return urls
}

// Upstream returns what belongs to a generation of the server's upstream: the
// current one, or one replaced a short time ago, which requests that arrived
// before the change still go to. ok is false for any other.
func (s *ServerPolicy) Upstream(generation int64) (u *Upstream, ok bool) {
	for i := range s.upstreams {
		if s.upstreams[i].Generation == generation {
			return &s.upstreams[i].Upstream, true
		}
	}
	return nil, false
}

// Accepts reports whether tokens of the named Issuer are accepted.
func (s *ServerPolicy) Accepts(issuer string) bool {
	return s.Issuers == nil || slices.Contains(s.Issuers, issuer)
}

// Effective is the set of the caller's scopes: those of the token, those of
// its groups, and all that these include. A Group that is bound to an Issuer
// counts in tokens of that Issuer only.
func (s *ServerPolicy) Effective(c *Caller) ScopeSet {
	set := ScopeSet{direct: c.Scopes}
	own := false
	for _, name := range c.Groups {
		g, ok := s.view.groups.get(name)
		if !ok || g.Issuer != "" && g.Issuer != c.Issuer {
			continue
		}
		if !own {
			set.direct, own = slices.Clone(c.Scopes), true
		}
		set.direct = append(set.direct, g.Scopes...)
	}
	return s.view.expand(set)
}

// expand adds what the direct scopes include.
func (v *view) expand(set ScopeSet) ScopeSet {
	if v.closures.root == nil {
		return set
	}
	for _, name := range set.direct {
		if c, ok := v.closures.get(name); ok {
			set.included = append(set.included, c)
		}
	}
	return set
}

// Relevant lists those of the scopes that grant something on this server,
// sorted.
func (s *ServerPolicy) Relevant(set ScopeSet) []string {
	var names []string
	keep := func(g *grant) bool {
		names = append(names, g.scope)
		return true
	}
	s.grants.visit(set, keep)
	s.view.wild.visit(set, keep)
	slices.Sort(names)
	return slices.Compact(names)
}

// grantOf returns a grant of the set that covers op, or nil. One that names
// the server comes before one for every server.
func (s *ServerPolicy) grantOf(set ScopeSet, op operation) (found *grant) {
	take := func(g *grant) bool {
		if _, ok := g.covers(op); ok {
			found = g
		}
		return found == nil
	}
	if s.grants.visit(set, take); found == nil {
		s.view.wild.visit(set, take)
	}
	return found
}

// compareIssuers orders issuers by name.
func compareIssuers(i issuer, name string) int { return cmp.Compare(i.name, name) }
