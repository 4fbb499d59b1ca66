package extauthz

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/mcpgate/mcpgate/registry"
)

// Replaced upstreams are kept for requests whose headers arrived before the
// change and whose body did not: at most this many of a server, for at most
// this long.
const (
	maxRetained = 8
	retainFor   = time.Minute
)

// source is what the writer remembers of the registry to know what a change
// touches.
type source struct {
	servers map[string]*registry.Server
	scopes  map[string]*scope
	// naming holds, of each server, the scopes whose rules name it, sorted.
	naming map[string][]string
	// wild are the scopes with rules for every server, sorted.
	wild        []string
	revocations map[string]*registry.Revocation
	// now is the latest time seen in the metadata of a change.
	now time.Time
	// expiring are the servers with retained upstreams, oldest first.
	expiring []expiry
}

type expiry struct {
	server   string
	replaced time.Time
}

func newSource() source {
	return source{
		servers: make(map[string]*registry.Server),
		scopes:  make(map[string]*scope),
		naming:  make(map[string][]string),

		revocations: make(map[string]*registry.Revocation),
	}
}

// Load replaces everything by the snapshot. Upstreams that it replaces are
// retained as Apply does.
func (p *Policies) Load(s registry.Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changes := make([]registry.Change, 0, len(s.Resources))
	here := make(map[registry.Key]struct{}, len(s.Resources))
	for _, r := range s.Resources {
		here[r.Key()] = struct{}{}
		changes = append(changes, registry.Change{Key: r.Key(), Resource: r})
	}
	gone := func(kind registry.Kind, name string) {
		key := registry.Key{Kind: kind, Name: name}
		if _, ok := here[key]; !ok {
			changes = append(changes, registry.Change{Key: key})
		}
	}
	for name := range p.source.servers {
		gone(registry.KindServer, name)
	}
	for name := range p.source.scopes {
		gone(registry.KindScope, name)
	}
	for name := range p.source.revocations {
		gone(registry.KindRevocation, name)
	}
	v := p.view.Load()
	v.groups.each(func(name string) { gone(registry.KindGroup, name) })
	for _, i := range v.issuers {
		gone(registry.KindIssuer, i.name)
	}
	p.apply(s.Revision, changes)
}

// Apply makes the changes of one transaction visible to readers, all at once.
// Events must come in the order of their revisions. The cost grows with the
// change and what it touches, not with the number of servers.
func (p *Policies) Apply(e registry.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apply(e.Revision, e.Changes)
}

// update collects what one event touches before it is compiled.
type update struct {
	edit    *edit
	view    view
	servers map[string]struct{}
	// includes are the scopes whose includes changed.
	includes map[string]struct{}
	wild     bool
	// revoked says that Revocations changed.
	revoked bool
}

func (p *Policies) apply(revision int64, changes []registry.Change) {
	u := update{
		edit: new(edit), view: *p.view.Load(),
		servers: make(map[string]struct{}), includes: make(map[string]struct{}),
	}
	u.view.revision = revision
	src := &p.source
	for _, c := range changes {
		if c.Resource != nil {
			if at := c.Resource.Meta().UpdatedAt; at.After(src.now) {
				src.now = at
			}
		}
	}
	for len(src.expiring) > 0 && src.now.Sub(src.expiring[0].replaced) > retainFor {
		u.servers[src.expiring[0].server] = struct{}{}
		src.expiring = src.expiring[1:]
	}
	for _, c := range changes {
		u.record(src, c)
	}
	for name := range u.includes {
		u.close(src, name)
	}
	if u.wild {
		u.view.wild = src.wildGrants()
	}
	for name := range u.servers {
		u.compileServer(src, p.cfg, name)
	}
	last := u.view.revocations.changed
	if u.revoked {
		u.view.revocations.changed = make(chan struct{})
	}
	p.view.Store(&u.view)
	if u.revoked {
		close(last)
	}
}

// record takes one change into the source and notes what it touches.
func (u *update) record(src *source, c registry.Change) {
	name := c.Key.Name
	switch c.Key.Kind {
	case registry.KindServer:
		if s, ok := c.Resource.(*registry.Server); ok {
			src.servers[name] = s
		} else {
			delete(src.servers, name)
		}
		u.servers[name] = struct{}{}
	case registry.KindScope:
		s, _ := c.Resource.(*registry.Scope)
		u.recordScope(src, name, s)
	case registry.KindGroup:
		if g, ok := c.Resource.(*registry.Group); ok {
			u.view.groups = u.view.groups.set(u.edit, name, g)
		} else {
			u.view.groups = u.view.groups.unset(u.edit, name)
		}
	case registry.KindIssuer:
		i, found := slices.BinarySearchFunc(u.view.issuers, name, compareIssuers)
		is := slices.Clone(u.view.issuers)
		if r, ok := c.Resource.(*registry.Issuer); !ok {
			if found {
				is = slices.Delete(is, i, i+1)
			}
		} else if found {
			is[i].url = r.Issuer
		} else {
			is = slices.Insert(is, i, issuer{name, r.Issuer})
		}
		u.view.issuers = is
	case registry.KindRevocation:
		r, _ := c.Resource.(*registry.Revocation)
		u.view.revocations.replace(u.edit, src.revocations[name], r)
		if src.revocations[name] = r; r == nil {
			delete(src.revocations, name)
		}
		u.revoked = true
	case registry.KindSessionKey, registry.KindTask:
		// Packages session and task keep them.
	}
}

// recordScope replaces a scope; s is nil when it was deleted.
func (u *update) recordScope(src *source, name string, s *registry.Scope) {
	old, now := src.scopes[name], (*scope)(nil)
	if s != nil {
		now = compileScope(s)
		src.scopes[name] = now
	} else {
		delete(src.scopes, name)
	}
	for _, n := range old.servers() {
		u.servers[n.server] = struct{}{}
		if src.naming[n.server] = without(src.naming[n.server], name); len(src.naming[n.server]) == 0 {
			delete(src.naming, n.server)
		}
	}
	for _, n := range now.servers() {
		u.servers[n.server] = struct{}{}
		src.naming[n.server] = with(src.naming[n.server], name)
	}
	if wasWild, isWild := old.isWild(), now.isWild(); wasWild || isWild {
		u.wild = true
		if src.wild = without(src.wild, name); isWild {
			src.wild = with(src.wild, name)
		}
	}
	was, is := old.includes(), now.includes()
	if slices.Equal(was, is) {
		return
	}
	for _, included := range was {
		u.setIncluders(included, func(l []string) []string { return without(l, name) })
	}
	for _, included := range is {
		u.setIncluders(included, func(l []string) []string { return with(l, name) })
	}
	u.includes[name] = struct{}{}
}

func (u *update) setIncluders(name string, change func([]string) []string) {
	l, _ := u.view.includers.get(name)
	if l = change(slices.Clone(l)); len(l) == 0 {
		u.view.includers = u.view.includers.unset(u.edit, name)
	} else {
		u.view.includers = u.view.includers.set(u.edit, name, l)
	}
}

// close computes anew what a scope includes, and what all that include it do.
func (u *update) close(src *source, name string) {
	for _, n := range reach(name, func(n string) []string { l, _ := u.view.includers.get(n); return l }, 0) {
		u.setClosure(n, reach(n, func(n string) []string { return src.scopes[n].includes() }, 0)[1:])
	}
}

func (u *update) setClosure(name string, included []string) {
	if len(included) == 0 {
		u.view.closures = u.view.closures.unset(u.edit, name)
		return
	}
	slices.Sort(included)
	u.view.closures = u.view.closures.set(u.edit, name, included)
}

// reach lists from and all that next leads to from there, each once, nearest
// first; at most limit names when limit is not 0.
func reach(from string, next func(string) []string, limit int) []string {
	found, seen := []string{from}, map[string]struct{}{from: {}}
	for i := 0; i < len(found); i++ {
		for _, n := range next(found[i]) {
			if limit > 0 && len(found) == limit {
				return found
			}
			if _, ok := seen[n]; !ok {
				seen[n] = struct{}{}
				found = append(found, n)
			}
		}
	}
	return found
}

// compileServer makes the policy of one server anew, or removes it.
func (u *update) compileServer(src *source, cfg Config, name string) {
	s, ok := src.servers[name]
	if !ok || !s.IsEnabled() {
		u.view.servers = u.view.servers.unset(u.edit, name)
		return
	}
	base := strings.TrimRight(cfg.ExternalURL, "/")
	path := "/" + name + "/mcp"
	policy := &ServerPolicy{
		Name:        name,
		Title:       s.Title,
		Generation:  s.Metadata.Generation,
		Resource:    base + path,
		MetadataURL: base + "/.well-known/oauth-protected-resource" + path,
		Audiences:   s.Access.Audiences,
		Baseline:    s.Access.BaselineScopes,
		grants:      src.grantsOn(name),
		upstreams: []retained{{Upstream: Upstream{
			Generation:         s.Metadata.Generation,
			Credential:         s.Upstream.Credential,
			ForwardClientToken: s.Upstream.ForwardClientToken,
			Exchange:           s.Upstream.Exchange,
		}}},
	}
	if len(s.Access.Issuers) > 0 {
		policy.Issuers = s.Access.Issuers
	}
	if len(policy.Audiences) == 0 {
		policy.Audiences = []string{policy.Resource}
	}
	if len(policy.Baseline) == 0 {
		policy.Baseline = src.naming[name]
	}
	if old, ok := u.view.servers.get(name); ok {
		for _, r := range old.upstreams {
			if r.Generation == policy.Generation || len(policy.upstreams) > maxRetained {
				continue
			}
			if r.Generation == old.Generation {
				r.replaced = src.now
				src.expiring = append(src.expiring, expiry{name, src.now})
			}
			if src.now.Sub(r.replaced) <= retainFor {
				policy.upstreams = append(policy.upstreams, r)
			}
		}
	}
	u.view.servers = u.view.servers.set(u.edit, name, policy)
}

// grantsOn compiles what each scope that names the server grants there.
func (src *source) grantsOn(server string) grants {
	names := src.naming[server]
	if len(names) == 0 {
		return nil
	}
	gs := make(grants, len(names))
	for i, name := range names {
		s := src.scopes[name]
		gs[i] = grant{scope: name, weight: s.weight, rules: s.on(server)}
	}
	return gs
}

func (src *source) wildGrants() grants {
	gs := make(grants, len(src.wild))
	for i, name := range src.wild {
		s := src.scopes[name]
		gs[i] = grant{scope: name, weight: s.weight, rules: s.wild}
	}
	return gs
}

// The methods below read a scope that may be nil: one that does not exist.

func (s *scope) servers() []namedServer {
	if s == nil {
		return nil
	}
	return s.named
}

func (s *scope) isWild() bool { return s != nil && len(s.wild) > 0 }

func (s *scope) includes() []string {
	if s == nil {
		return nil
	}
	return s.source.Includes
}

// with returns the sorted list with the name in it. The old list may be read
// by others, so it is copied.
func with(list []string, name string) []string {
	i, found := slices.BinarySearchFunc(list, name, cmp.Compare[string])
	if found {
		return list
	}
	grown := make([]string, 0, len(list)+1)
	return append(append(append(grown, list[:i]...), name), list[i:]...)
}

// without returns a copy of the sorted list without the name.
func without(list []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(n string) bool { return n == name })
}
