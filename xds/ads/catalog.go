package ads

import (
	"fmt"
	"slices"
	"time"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/xds"
)

// maxRetiring bounds the generations of one server that stand beside the
// current one. The authorization service remembers as many; an older one could
// not be decided for anyway.
const maxRetiring = 8

// catalog knows which generations of which servers are served, and keeps the
// logs accordingly. The caller synchronises.
type catalog struct {
	build builders
	grace time.Duration
	logs  [kinds]*changelog
	// seq is the number of the last change, of any type.
	seq     uint64
	servers map[string]*serving
	fixed   []string // names of the fixed scopes, in the order of sending
	// revs of the scopes that were refused together with others; firstRev is
	// not kept.
	revs map[string]uint64
	// expiries are ordered, since the grace time is the same for all.
	expiries []expiry
	// invalid holds what could not be built, by server.
	invalid map[string]Rejection
	// rejected holds what Envoys have refused.
	rejected map[resourceKey]Rejection
}

type resourceKey struct {
	kind kind
	name string
}

// serving is one server that has a scope.
type serving struct {
	current *registry.Server
	// retiring are earlier generations in their grace time, oldest first.
	retiring []*registry.Server
}

// versions are all generations served, oldest first.
func (s *serving) versions() []*registry.Server {
	return append(slices.Clone(s.retiring), s.current)
}

// expiry is the end of the grace time of one generation.
type expiry struct {
	at         time.Time
	server     string
	generation int64
}

func newCatalog(b builders, grace time.Duration) *catalog {
	c := &catalog{
		build:    b,
		grace:    grace,
		servers:  make(map[string]*serving),
		revs:     make(map[string]uint64),
		invalid:  make(map[string]Rejection),
		rejected: make(map[resourceKey]Rejection),
	}
	for k := range c.logs {
		c.logs[k] = newChangelog(kind(k))
	}
	return c
}

func (c *catalog) next() uint64 {
	c.seq++
	return c.seq
}

// put makes a resource current. An Envoy's refusal of other content is over.
func (c *catalog) put(k kind, ct content, revision int64) *record {
	r, changed := c.logs[k].put(ct, revision, c.next)
	if k == scopes {
		r.rev = c.rev(ct.name)
	}
	key := resourceKey{k, ct.name}
	if changed {
		delete(c.rejected, key)
	} else if rej, ok := c.rejected[key]; ok {
		// The same content, asked for again: refused as before.
		rej.Revision = revision
		c.rejected[key] = rej
	}
	return r
}

func (c *catalog) remove(k kind, name string, revision int64) {
	if c.logs[k].remove(name, revision, c.next) {
		delete(c.rejected, resourceKey{k, name})
	}
}

func (c *catalog) rev(scope string) uint64 {
	if rev, ok := c.revs[scope]; ok {
		return rev
	}
	return firstRev
}

// setFixed builds the fixed scopes.
func (c *catalog) setFixed() error {
	list, err := c.build.fixedOf(firstRev)
	if err != nil {
		return err
	}
	for _, ct := range list {
		c.fixed = append(c.fixed, ct.name)
		c.put(scopes, ct, 0)
	}
	return nil
}

// last is the name of the scope to be sent last in a first sync.
func (c *catalog) last() string {
	if len(c.fixed) == 0 {
		return ""
	}
	return c.fixed[len(c.fixed)-1]
}

// built is what one change of a server needs.
type built struct {
	server         *registry.Server
	beside         []*registry.Server
	cluster, scope content
	failed         kind
	err            error
}

// prepare builds a server's resources, beside the generations that are served
// now. It reads the catalog only.
func (c *catalog) prepare(s *registry.Server) built {
	b := built{server: s}
	if slices.Contains(c.fixed, s.Name) {
		b.failed, b.err = scopes, fmt.Errorf("server %s: the name is that of a fixed scope", s.Name)
		return b
	}
	if b.cluster, b.err = c.build.clusterOf(s); b.err != nil {
		b.failed = clusters
		return b
	}
	if sv := c.servers[s.Name]; sv != nil {
		b.beside = c.beside(sv, s)
	}
	if b.scope, b.err = c.build.scopeOf(append(slices.Clone(b.beside), s), c.rev(s.Name)); b.err != nil {
		b.failed = scopes
	}
	return b
}

// beside are the generations that retire, or go on retiring, once s is
// current. One that an Envoy has refused is not among them: nothing is in
// flight to it, and its routes would have the next scope refused as well.
func (c *catalog) beside(sv *serving, s *registry.Server) []*registry.Server {
	old := slices.Clone(sv.retiring)
	if sv.current.Metadata.Generation != s.Metadata.Generation && !c.quarantined(scopes, s.Name) {
		old = append(old, sv.current)
	}
	return old[max(0, len(old)-maxRetiring):]
}

// set serves what prepare has built: its cluster, then a scope with the routes
// of all generations. The replaced generation goes at the end of its grace
// time. What could not be built changes nothing: the last good stays.
func (c *catalog) set(b built, revision int64, now time.Time) {
	s := b.server
	if b.err != nil {
		c.invalid[s.Name] = Rejection{
			Type: b.failed.String(), Name: s.Name, Server: s.Name,
			Revision: revision, Message: b.err.Error(), Time: now,
		}
		return
	}
	delete(c.invalid, s.Name)

	c.put(clusters, b.cluster, revision)
	c.put(scopes, b.scope, revision)
	sv := c.servers[s.Name]
	if sv == nil {
		c.servers[s.Name] = &serving{current: s}
		return
	}
	before := sv.versions()
	if g := sv.current.Metadata.Generation; g != s.Metadata.Generation {
		c.expiries = append(c.expiries, expiry{now.Add(c.grace), s.Name, g})
	}
	sv.retiring, sv.current = b.beside, s
	for _, v := range before {
		if g := v.Metadata.Generation; !sv.serves(g) {
			c.remove(clusters, xds.ClusterName(s.Name, g), revision)
		}
	}
}

func (c *catalog) quarantined(k kind, name string) bool {
	r, ok := c.logs[k].get(name)
	return ok && r.quarantined
}

func (s *serving) serves(generation int64) bool {
	return s.current.Metadata.Generation == generation || s.retires(generation)
}

func (s *serving) retires(generation int64) bool {
	return slices.ContainsFunc(s.retiring, func(v *registry.Server) bool { return v.Metadata.Generation == generation })
}

// withdraw stops serving a disabled or deleted server: the scope first, then
// every generation's cluster. A deleted one can only come back as another
// generation, whose content differs from all before.
func (c *catalog) withdraw(name string, deleted bool, revision int64) {
	delete(c.invalid, name)
	if deleted {
		delete(c.revs, name)
	}
	sv := c.servers[name]
	if sv == nil {
		return
	}
	c.remove(scopes, name, revision)
	for _, v := range sv.versions() {
		c.remove(clusters, xds.ClusterName(name, v.Metadata.Generation), revision)
	}
	delete(c.servers, name)
}

// due reports when the next grace time ends.
func (c *catalog) due() (time.Time, bool) {
	if len(c.expiries) == 0 {
		return time.Time{}, false
	}
	return c.expiries[0].at, true
}

// expire ends at most limit of the grace times that are over: the scope
// without the old routes, then the old cluster.
func (c *catalog) expire(now time.Time, limit int) {
	n := 0
	for ; n < min(limit, len(c.expiries)) && !c.expiries[n].at.After(now); n++ {
		c.retire(c.expiries[n])
	}
	c.expiries = slices.Delete(c.expiries, 0, n)
}

func (c *catalog) retire(e expiry) {
	sv := c.servers[e.server]
	if sv == nil || !sv.retires(e.generation) {
		return // withdrawn since, or pushed out by newer generations
	}
	kept := slices.DeleteFunc(slices.Clone(sv.retiring), func(v *registry.Server) bool {
		return v.Metadata.Generation == e.generation
	})
	revision := sv.current.Metadata.Revision
	if r, ok := c.logs[scopes].get(e.server); ok {
		revision = r.revision
	}
	ct, err := c.build.scopeOf(append(slices.Clone(kept), sv.current), c.rev(e.server))
	if err != nil {
		// Fewer routes than were built before cannot be less valid. Keeping
		// the old generation is the safe side of what cannot happen.
		return
	}
	sv.retiring = kept
	c.put(scopes, ct, revision)
	c.remove(clusters, xds.ClusterName(e.server, e.generation), revision)
}

// heal gives a scope, which an Envoy may have stored without applying it as it
// was with the given rev, another one, so that its content differs. When that
// has been done already, there is nothing to do.
func (c *catalog) heal(r *record, refused uint64) error {
	rev := refused + 1
	if r.rev >= rev || r.quarantined {
		return nil
	}
	c.revs[r.name] = max(rev, c.rev(r.name))
	if r.res == nil {
		return nil // whoever puts it again takes the new rev
	}
	var ct content
	var err error
	if sv := c.servers[r.name]; sv != nil {
		ct, err = c.build.scopeOf(sv.versions(), c.rev(r.name))
	} else {
		ct, err = c.fixedScope(r.name, c.rev(r.name))
	}
	if err != nil {
		return err
	}
	c.put(scopes, ct, r.revision)
	return nil
}

func (c *catalog) fixedScope(name string, rev uint64) (content, error) {
	list, err := c.build.fixedOf(rev)
	if err != nil {
		return content{}, err
	}
	for _, ct := range list {
		if ct.name == name {
			return ct, nil
		}
	}
	return content{}, fmt.Errorf("no scope %s", name)
}
