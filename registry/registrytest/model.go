package registrytest

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mcpgate/mcpgate/registry"
)

// model is the contract as the simplest thing that fulfils it.
type model struct {
	resources map[registry.Key]registry.Resource
	events    []registry.Event
}

func (m *model) revision() int64 { return int64(len(m.events)) }

// commit makes view the state and returns the revision afterwards.
func (m *model) commit(view map[registry.Key]registry.Resource) int64 {
	e := registry.Event{Revision: m.revision() + 1}
	keys := make(map[registry.Key]bool)
	for _, from := range []map[registry.Key]registry.Resource{m.resources, view} {
		for k := range from {
			keys[k] = true
		}
	}
	state := make(map[registry.Key]registry.Resource)
	for _, k := range slices.SortedFunc(maps.Keys(keys), registry.Key.Compare) {
		prev, next := m.resources[k], view[k]
		switch {
		case next == nil:
			e.Changes = append(e.Changes, registry.Change{Key: k})
			continue
		case prev != nil && registry.Equal(prev, next):
			state[k] = prev
			continue
		}
		r := next.Clone()
		*r.Meta() = registry.Metadata{Revision: e.Revision}
		if s, ok := r.(*registry.Server); ok {
			s.Metadata.Generation = e.Revision
			if p, ok := prev.(*registry.Server); ok && p.SameUpstream(s) {
				s.Metadata.Generation = p.Metadata.Generation
			}
		}
		state[k] = r
		e.Changes = append(e.Changes, registry.Change{Key: k, Resource: r})
	}
	if len(e.Changes) > 0 {
		m.resources, m.events = state, append(m.events, e)
	}
	return m.revision()
}

// modelled is the transformation of a resource for comparison: without times.
func modelled(r registry.Resource) registry.Resource {
	if r == nil {
		return nil
	}
	r = r.Clone()
	m := r.Meta()
	*m = registry.Metadata{Revision: m.Revision, Generation: m.Generation}
	return r
}

func modelKinds() []registry.Kind {
	return append(registry.Kinds(), registry.KindSessionKey, registry.KindTask)
}

func drawKey(t *rapid.T) registry.Key {
	kind := rapid.SampledFrom(modelKinds()).Draw(t, "kind of key")
	return registry.Key{Kind: kind, Name: rapid.SampledFrom(Names(kind)).Draw(t, "name of key")}
}

// runModel compares a store with the model over random sequences of
// transactions and reads.
func runModel(t *testing.T, open Opener) {
	rapid.Check(t, func(rt *rapid.T) {
		c := &comparison{T: rt, test: t, store: open(t), model: &model{}}
		defer func() {
			if err := c.store.Close(); err != nil {
				rt.Error(err)
			}
		}()
		watchers := []*progress{c.watch(0)}
		for range rapid.IntRange(1, 12).Draw(rt, "transactions") {
			c.transaction()
			c.reads()
			if rapid.IntRange(0, 3).Draw(rt, "new watcher") == 0 {
				watchers = append(watchers, c.watch(rapid.Int64Range(0, c.model.revision()).Draw(rt, "from")))
			}
			for _, w := range watchers {
				if rapid.Bool().Draw(rt, "read events") {
					c.events(w)
				}
			}
		}
		for _, w := range watchers {
			c.events(w)
		}
	})
}

type comparison struct {
	*rapid.T
	test  *testing.T
	store registry.Store
	model *model
}

// progress is a watcher and the revision up to which it was read.
type progress struct {
	registry.Watcher
	at int64
}

func (c *comparison) watch(revision int64) *progress {
	return &progress{Watcher: watch(c.test, c.store, revision), at: revision}
}

// events reads all that the watcher has to deliver.
func (c *comparison) events(w *progress) {
	for ; w.at < c.model.revision(); w.at++ {
		got := next(c.test, w)
		for i := range got.Changes {
			got.Changes = slices.Clone(got.Changes)
			got.Changes[i].Resource = modelled(got.Changes[i].Resource)
		}
		c.same("event", c.model.events[w.at], got)
	}
}

func (c *comparison) same(what string, want, got any) {
	if diff := cmp.Diff(want, got); diff != "" {
		c.Fatalf("%s (-model +store):\n%s", what, diff)
	}
}

// transaction runs the same random steps on both sides.
func (c *comparison) transaction() {
	fails := rapid.IntRange(0, 4).Draw(c.T, "fails") == 0
	steps := rapid.IntRange(0, 6).Draw(c.T, "steps")
	type step struct {
		put registry.Resource
		key registry.Key
	}
	var plan []step
	for range steps {
		if rapid.IntRange(0, 2).Draw(c.T, "delete") == 0 {
			plan = append(plan, step{key: drawKey(c.T)})
		} else {
			plan = append(plan, step{put: Resources(modelKinds()...).Draw(c.T, "put")})
		}
	}
	asked := drawKey(c.T)
	var view map[registry.Key]registry.Resource
	revision, err := c.store.Update(c.test.Context(), func(tx registry.Tx) error {
		view = maps.Clone(c.model.resources)
		if view == nil {
			view = make(map[registry.Key]registry.Resource)
		}
		for _, s := range plan {
			if s.put != nil {
				if err := tx.Put(s.put); err != nil {
					return err
				}
				view[s.put.Key()] = s.put
				continue
			}
			_, there := view[s.key]
			if err := tx.Delete(s.key); there != (err == nil) || err != nil && !errors.Is(err, registry.ErrNotFound) {
				return err
			}
			delete(view, s.key)
		}
		if err := c.inside(tx, view, asked); err != nil {
			return err
		}
		if fails {
			return errRefused
		}
		return nil
	})
	if fails {
		if !errors.Is(err, errRefused) {
			c.Fatalf("error %v of a transaction that fails", err)
		}
		return
	}
	if err != nil {
		c.Fatal(err)
	}
	c.same("revision", c.model.commit(view), revision)
}

// inside compares what a transaction sees.
func (c *comparison) inside(tx registry.Tx, view map[registry.Key]registry.Resource, key registry.Key) error {
	r, err := tx.Get(key)
	if want, there := view[key]; there != (err == nil) || there && !registry.Equal(want, r) {
		return errors.Join(errors.New("Get in a transaction differs"), err)
	}
	var keys, referrers []registry.Key
	for _, k := range slices.SortedFunc(maps.Keys(view), registry.Key.Compare) {
		if k.Kind == key.Kind {
			keys = append(keys, k)
		}
		if slices.Contains(view[k].References(), key) {
			referrers = append(referrers, k)
		}
	}
	gotKeys, err := tx.List(key.Kind)
	if err != nil || !slices.Equal(keys, gotKeys) {
		return errors.Join(errors.New("List in a transaction differs"), err)
	}
	gotReferrers, err := tx.Referrers(key)
	if err != nil || !slices.Equal(referrers, gotReferrers) {
		return errors.Join(errors.New("Referrers in a transaction differs"), err)
	}
	return nil
}

// reads compares what can be read outside transactions.
func (c *comparison) reads() {
	ctx := c.test.Context()
	snap, err := c.store.Snapshot(ctx)
	if err != nil {
		c.Fatal(err)
	}
	var want, got []registry.Resource
	for _, k := range slices.SortedFunc(maps.Keys(c.model.resources), registry.Key.Compare) {
		want = append(want, c.model.resources[k])
	}
	for _, r := range snap.Resources {
		got = append(got, modelled(r))
		if m := r.Meta(); m.CreatedAt.IsZero() || m.UpdatedAt.Before(m.CreatedAt) {
			c.Fatalf("%s: times %+v", r.Key(), m)
		}
	}
	c.same("snapshot", want, got)
	c.same("revision of the snapshot", c.model.revision(), snap.Revision)

	key := drawKey(c.T)
	r, err := c.store.Get(ctx, key)
	if _, there := c.model.resources[key]; there != (err == nil) || err != nil && !errors.Is(err, registry.ErrNotFound) {
		c.Fatalf("Get(%s): %v", key, err)
	}
	c.same("Get", c.model.resources[key], modelled(r))

	opt := registry.ListOptions{Limit: rapid.IntRange(0, 3).Draw(c.T, "limit")}
	if rapid.Bool().Draw(c.T, "after") {
		opt.After = key.Name
	}
	page, err := c.store.List(ctx, key.Kind, opt)
	if err != nil {
		c.Fatal(err)
	}
	var names []string
	for _, r := range want {
		if k := r.Key(); k.Kind == key.Kind && k.Name > opt.After {
			names = append(names, k.Name)
		}
	}
	nextPage := ""
	if opt.Limit > 0 && len(names) > opt.Limit {
		names = names[:opt.Limit]
		nextPage = names[opt.Limit-1]
	}
	var listed []string
	for _, r := range page.Resources {
		listed = append(listed, r.Key().Name)
	}
	c.same("page", names, listed)
	c.same("next", nextPage, page.Next)
	c.same("revision of the page", c.model.revision(), page.Revision)
}
