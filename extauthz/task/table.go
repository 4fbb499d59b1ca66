package task

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcpgate/mcpgate/extauthz/session"
	"github.com/mcpgate/mcpgate/registry"
)

// Store keeps the bindings; a registry.Store is one.
type Store interface {
	Update(ctx context.Context, fn func(registry.Tx) error) (revision int64, err error)
}

// The defaults of Config.
const (
	DefaultMax             = 100_000
	DefaultMaxPerPrincipal = 1000
	DefaultTTL             = 24 * time.Hour
)

// Config is what a Table needs. Store must be set; zero numbers stand for the
// defaults.
type Config struct {
	Store Store
	// Max bounds all bindings. Past it, no task can be started.
	Max int
	// MaxPerPrincipal bounds those of one principal. Past it, its oldest goes.
	MaxPerPrincipal int
	// TTL bounds how long a binding lasts.
	TTL time.Duration
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// Table knows whose the tasks are. It is safe for concurrent use.
//
// It follows the registry by Load and Apply, and knows what it has written
// itself without waiting for the registry to say so: a client may use a task as
// soon as it has heard of it.
type Table struct {
	config Config
	// turns let one Bind of a principal run at a time, so that its limit holds.
	turns [64]chan struct{}

	mu sync.RWMutex
	// revision is that of the last Load or Apply.
	revision int64
	bindings map[digest]binding
	// owned are the names of the bindings of each principal.
	owned map[digest]map[digest]struct{}
	// pending is how many calls of Bind have room in Max and no binding yet.
	pending int

	evicted, full, contested atomic.Uint64
}

// Metrics is what a Table has now, and has counted since it was made.
type Metrics struct {
	// Bindings is the number of bindings.
	Bindings int
	// Evicted were removed for a newer one of the same principal.
	Evicted uint64
	// Full are the calls of Bind that ended with ErrFull, Contested those that
	// ended with ErrContested.
	Full, Contested uint64
}

// Metrics reads the counters.
func (t *Table) Metrics() Metrics {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return Metrics{Bindings: len(t.bindings), Evicted: t.evicted.Load(), Full: t.full.Load(), Contested: t.contested.Load()}
}

// binding is a registry.Task in memory.
type binding struct {
	owner digest
	// expires is the Unix time in seconds.
	expires  int64
	revision int64
}

// New returns a table without bindings.
func New(c Config) *Table {
	if c.Max <= 0 {
		c.Max = DefaultMax
	}
	if c.MaxPerPrincipal <= 0 {
		c.MaxPerPrincipal = DefaultMaxPerPrincipal
	}
	if c.TTL <= 0 {
		c.TTL = DefaultTTL
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	t := &Table{config: c, bindings: make(map[digest]binding), owned: make(map[digest]map[digest]struct{})}
	for i := range t.turns {
		t.turns[i] = make(chan struct{}, 1)
	}
	return t
}

// Owns reports whether the owner has started the task of that id on the
// upstream that its server has in that generation.
func (t *Table) Owns(o session.Owner, generation int64, id string) bool {
	name, owner := nameOf(o.Server, generation, id), ownerOf(o)
	now := t.config.Now().Unix()
	t.mu.RLock()
	defer t.mu.RUnlock()
	b, ok := t.bindings[name]
	return ok && b.owner == owner && now < b.expires
}

// Load replaces everything by what the registry holds, but for what this table
// has written since.
func (t *Table) Load(snap registry.Snapshot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.bindings
	t.revision = snap.Revision
	t.bindings, t.owned = make(map[digest]binding), make(map[digest]map[digest]struct{})
	for _, r := range snap.Resources {
		if r, ok := r.(*registry.Task); ok {
			t.set(r, r.Metadata.Revision)
		}
	}
	for name, b := range before {
		if b.revision > snap.Revision {
			t.put(name, b)
		}
	}
}

// Apply follows one transaction of the registry.
func (t *Table) Apply(ev registry.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.revision = ev.Revision
	t.change(ev.Changes, ev.Revision)
}

// wrote makes the changes that this table has written at a revision, unless
// Apply has made them already, or Load: then they may be of the past.
func (t *Table) wrote(changes []registry.Change, revision int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if revision > t.revision {
		t.change(changes, revision)
	}
}

// change makes the changes of a revision. One that is older than the binding
// has been made by wrote, and undone or followed by another.
func (t *Table) change(changes []registry.Change, revision int64) {
	for _, c := range changes {
		if c.Key.Kind != registry.KindTask {
			continue
		}
		name, ok := parseDigest(c.Key.Name)
		if !ok || t.bindings[name].revision > revision {
			continue
		}
		if r, ok := c.Resource.(*registry.Task); ok {
			t.set(r, revision)
		} else {
			t.remove(name)
		}
	}
}

// set takes a resource over. One that cannot be read binds nothing.
func (t *Table) set(r *registry.Task, revision int64) {
	name, ok := parseDigest(r.Name)
	owner, readable := parseDigest(r.Owner)
	if !ok || !readable {
		return
	}
	t.put(name, binding{owner: owner, expires: r.ExpiresAt, revision: revision})
}

func (t *Table) put(name digest, b binding) {
	t.remove(name)
	t.bindings[name] = b
	if b.owner == (digest{}) {
		return
	}
	if t.owned[b.owner] == nil {
		t.owned[b.owner] = make(map[digest]struct{})
	}
	t.owned[b.owner][name] = struct{}{}
}

func (t *Table) remove(name digest) {
	b, ok := t.bindings[name]
	if !ok {
		return
	}
	delete(t.bindings, name)
	delete(t.owned[b.owner], name)
	if len(t.owned[b.owner]) == 0 {
		delete(t.owned, b.owner)
	}
}

// oldest are the names of the owner's bindings that must go so that there is
// room for one more.
func (t *Table) oldest(owner digest) []digest {
	mine := t.owned[owner]
	excess := len(mine) - t.config.MaxPerPrincipal + 1
	if excess <= 0 {
		return nil
	}
	names := make([]digest, 0, len(mine))
	for name := range mine {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b digest) int { return cmp.Compare(t.bindings[a].revision, t.bindings[b].revision) })
	return names[:excess]
}

// expired are up to limit names of bindings that have had their time.
func (t *Table) expired(limit int) []digest {
	now := t.config.Now().Unix()
	t.mu.RLock()
	defer t.mu.RUnlock()
	var names []digest
	for name, b := range t.bindings {
		if b.expires <= now {
			if names = append(names, name); len(names) == limit {
				break
			}
		}
	}
	return names
}
