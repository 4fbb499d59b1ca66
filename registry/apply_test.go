package registry_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/registrytest"
)

func newStore(t testing.TB, resources ...registry.Resource) registry.Store {
	t.Helper()
	m := registrytest.NewMemoryWith(resources...)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func puts(resources ...registry.Resource) (list []registry.Write) {
	for _, r := range resources {
		list = append(list, registry.Write{Resource: r})
	}
	return list
}

func deletes(keys ...registry.Key) (list []registry.Write) {
	for _, k := range keys {
		list = append(list, registry.Write{Delete: &k})
	}
	return list
}

func key(kind registry.Kind, name string) registry.Key { return registry.Key{Kind: kind, Name: name} }

func apply(t testing.TB, s registry.Store, b registry.Batch) registry.Result {
	t.Helper()
	result, err := registry.Apply(t.Context(), s, b)
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return result
}

// actions lists "kind/name action revision".
func actions(r registry.Result) (list []string) {
	for _, o := range r.Outcomes {
		list = append(list, fmt.Sprintf("%s %s %d", o.Key, o.Action, o.Revision))
	}
	return list
}

func wantActions(t testing.TB, r registry.Result, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, actions(r)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

// refused checks that a batch is refused with these problems, and that it
// leaves nothing.
func refused(t testing.TB, s registry.Store, b registry.Batch, want ...string) {
	t.Helper()
	before, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = registry.Apply(t.Context(), s, b)
	if !errors.Is(err, registry.ErrInvalid) {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff(strings.Join(want, "\n"), fmt.Sprint(err)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	after, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("a refused batch changed the store:\n%s", diff)
	}
}

func simpleScope(name string, includes ...string) *registry.Scope {
	s := &registry.Scope{Name: name, Includes: includes}
	if len(includes) == 0 {
		s.Rules = []registry.Rule{{Servers: []string{"*"}}}
	}
	return s
}

func TestApplyTellsWhatHappenedInOrder(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	// A server and its scope name each other: the order in a batch is free.
	wantActions(t, apply(t, s, registry.Batch{Writes: puts(exampleGroup(), exampleScope(), exampleServer(), exampleIssuer())}),
		"group//lob1/users created 1", "scope/weather:read created 1", "server/weather created 1", "issuer/corp created 1")

	changed := exampleServer()
	changed.Title = "Better weather"
	r := apply(t, s, registry.Batch{Writes: append(puts(exampleIssuer(), changed), deletes(key(registry.KindGroup, "/lob1/users"))...)})
	wantActions(t, r, "issuer/corp unchanged 1", "server/weather configured 2", "group//lob1/users deleted 2")
	if r.Revision != 2 {
		t.Errorf("revision %d", r.Revision)
	}
	r = apply(t, s, registry.Batch{Writes: puts(exampleIssuer(), changed)})
	wantActions(t, r, "issuer/corp unchanged 1", "server/weather unchanged 2")
	if r.Revision != 2 {
		t.Errorf("revision %d after nothing changed", r.Revision)
	}
	r = apply(t, s, registry.Batch{})
	if len(r.Outcomes) != 0 || r.Revision != 2 {
		t.Errorf("empty batch: %+v", r)
	}
}

func TestApplyDryRunLeavesNothing(t *testing.T) {
	t.Parallel()
	s := newStore(t, simpleScope("a"), simpleScope("b"))
	w, err := s.Watch(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	changed := simpleScope("a")
	changed.Description = "new"
	r := apply(t, s, registry.Batch{Writes: puts(changed, simpleScope("c")), Prune: true, DryRun: true})
	wantActions(t, r, "scope/a configured 1", "scope/c created 0", "scope/b deleted 1")
	if r.Revision != 1 {
		t.Errorf("revision %d", r.Revision)
	}
	if snap, err := s.Snapshot(t.Context()); err != nil || snap.Revision != 1 || len(snap.Resources) != 2 {
		t.Errorf("snapshot %+v, %v", snap, err)
	}
	select {
	case e := <-w.Events():
		t.Errorf("event %+v", e)
	default:
	}
	refused(t, s, registry.Batch{Writes: puts(&registry.Group{Name: "g", Scopes: []string{"nope"}}), DryRun: true},
		"group/g: scopes[0]: names scope/nope, which does not exist")
}

func TestApplyConditions(t *testing.T) {
	t.Parallel()
	revision := func(n int64) *int64 { return &n }
	a := key(registry.KindScope, "a")
	changed := simpleScope("a")
	changed.Description = "new"
	for name, c := range map[string]struct {
		write registry.Write
		want  error
	}{
		"create what exists":            {registry.Write{Resource: changed, Revision: revision(0)}, registry.ErrConflict},
		"create an equal one":           {registry.Write{Resource: simpleScope("a"), Revision: revision(0)}, registry.ErrConflict},
		"create what does not exist":    {registry.Write{Resource: simpleScope("n"), Revision: revision(0)}, nil},
		"change at its revision":        {registry.Write{Resource: changed, Revision: revision(2)}, nil},
		"change at an older revision":   {registry.Write{Resource: changed, Revision: revision(1)}, registry.ErrConflict},
		"change at a later revision":    {registry.Write{Resource: changed, Revision: revision(3)}, registry.ErrConflict},
		"change what does not exist":    {registry.Write{Resource: simpleScope("n"), Revision: revision(1)}, registry.ErrConflict},
		"delete at its revision":        {registry.Write{Delete: &a, Revision: revision(2)}, nil},
		"delete at an older revision":   {registry.Write{Delete: &a, Revision: revision(1)}, registry.ErrConflict},
		"delete if it does not exist":   {registry.Write{Delete: &a, Revision: revision(0)}, registry.ErrConflict},
		"delete what does not exist":    {registry.Write{Delete: &registry.Key{Kind: registry.KindScope, Name: "n"}}, registry.ErrNotFound},
		"negative revision":             {registry.Write{Resource: changed, Revision: revision(-1)}, registry.ErrInvalid},
		"without condition, as it will": {registry.Write{Resource: changed}, nil},
	} {
		s := newStore(t, simpleScope("z"))
		apply(t, s, registry.Batch{Writes: puts(simpleScope("a"))})
		// Its neighbour must not happen when the condition fails.
		batch := registry.Batch{Writes: append(puts(simpleScope("neighbour")), c.write)}
		_, err := registry.Apply(t.Context(), s, batch)
		if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
			t.Errorf("%s: error %v, want %v", name, err, c.want)
		}
		if _, gerr := s.Get(t.Context(), key(registry.KindScope, "neighbour")); (gerr == nil) != (err == nil) {
			t.Errorf("%s: neighbour: %v", name, gerr)
		}
	}
}

func TestApplyRefusesBadBatches(t *testing.T) {
	t.Parallel()
	s := newStore(t, simpleScope("a"))
	sessionKey := &registry.SessionKey{Name: "k", Secret: make([]byte, 32)}
	id := key(registry.KindSessionKey, "k")
	a := key(registry.KindScope, "a")
	refused(t, s, registry.Batch{Writes: []registry.Write{{}, {Resource: simpleScope("x"), Delete: &a}}},
		"write 0 must either put or delete a resource", "write 1 must either put or delete a resource")
	refused(t, s, registry.Batch{Writes: append(puts(sessionKey), deletes(id)...)},
		"sessionkey/k: is not of a kind that can be written", "sessionkey/k: is not of a kind that can be written")
	refused(t, s, registry.Batch{Writes: append(puts(simpleScope("a"), simpleScope("a")), deletes(a)...)},
		"scope/a: is written twice", "scope/a: is written twice")
	refused(t, s, registry.Batch{Writes: puts(&registry.Server{Name: "A"}, &registry.Scope{Name: "b", Rules: []registry.Rule{{}}})},
		"server/A: name: must be 1 to 63 lower-case letters, digits and -, and begin and end with a letter or a digit",
		"server/A: upstream.url: must be set",
		`scope/b: rules[0].servers: must name a server, or "*" for every server`)
}

func TestApplyRefusesUnknownReferences(t *testing.T) {
	t.Parallel()
	server := exampleServer()
	scope := exampleScope()
	scope.Includes = []string{"other"}
	scope.Rules = append(scope.Rules, registry.Rule{Servers: []string{"*", "weather", "climate"}})
	refused(t, newStore(t), registry.Batch{Writes: puts(server, scope, exampleGroup())},
		"server/weather: access.issuers[0]: names issuer/corp, which does not exist",
		"scope/weather:read: includes[0]: names scope/other, which does not exist",
		"scope/weather:read: rules[1].servers[2]: names server/climate, which does not exist",
		"group//lob1/users: issuer: names issuer/corp, which does not exist")
}

func TestApplyRefusesDeletionOfWhatIsNamed(t *testing.T) {
	t.Parallel()
	s := newStore(t, examples()...)
	issuer, server, scope, group := key(registry.KindIssuer, "corp"), key(registry.KindServer, "weather"), key(registry.KindScope, "weather:read"), key(registry.KindGroup, "/lob1/users")
	refused(t, s, registry.Batch{Writes: deletes(issuer)}, "issuer/corp: cannot be deleted: it is still named by group//lob1/users, server/weather")
	refused(t, s, registry.Batch{Writes: deletes(server, scope)}, "scope/weather:read: cannot be deleted: it is still named by group//lob1/users")
	// The batch changes one referrer and leaves another.
	free := exampleServer()
	free.Access.Issuers = nil
	refused(t, s, registry.Batch{Writes: append(puts(free), deletes(issuer)...)}, "issuer/corp: cannot be deleted: it is still named by group//lob1/users")
	// The batch puts a referrer of what it deletes.
	refused(t, s, registry.Batch{Writes: append(deletes(scope), puts(exampleGroup())...)},
		"scope/weather:read: cannot be deleted: it is still named by server/weather",
		"group//lob1/users: scopes[0]: names scope/weather:read, which this change deletes")
	wantActions(t, apply(t, s, registry.Batch{Writes: append(puts(free), deletes(issuer, group)...)}),
		"server/weather configured 2", "issuer/corp deleted 2", "group//lob1/users deleted 2")
}

func TestApplyNamesABoundedNumberOfReferrers(t *testing.T) {
	t.Parallel()
	resources := []registry.Resource{simpleScope("a")}
	for i := range 50 {
		resources = append(resources, &registry.Group{Name: fmt.Sprintf("g%02d", i), Scopes: []string{"a"}})
	}
	_, err := registry.Apply(t.Context(), newStore(t, resources...), registry.Batch{Writes: deletes(key(registry.KindScope, "a"))})
	if got := fmt.Sprint(err); !strings.HasSuffix(got, "group/g19, and 30 more") {
		t.Errorf("error %s", got)
	}
}

func TestApplyRefusesCycles(t *testing.T) {
	t.Parallel()
	s := newStore(t, simpleScope("d"), simpleScope("c", "d"), simpleScope("b", "c", "d"), simpleScope("a", "b", "c"))
	refused(t, s, registry.Batch{Writes: puts(simpleScope("d", "a"))}, "scope/d: includes[0]: makes a cycle: d → a → b → c → d")
	// Of a batch that brings both ends, and of one that brings two cycles.
	refused(t, s, registry.Batch{Writes: puts(simpleScope("x", "y"), simpleScope("y", "d", "x"))}, "scope/x: includes[0]: makes a cycle: x → y → x")
	refused(t, s, registry.Batch{Writes: puts(simpleScope("p", "q"), simpleScope("q", "p"), simpleScope("x", "y"), simpleScope("y", "x"))},
		"scope/p: includes[0]: makes a cycle: p → q → p", "scope/x: includes[0]: makes a cycle: x → y → x")
	refused(t, s, registry.Batch{Writes: puts(simpleScope("x", "x"))}, "scope/x: includes[0]: the scope includes itself")
	// Turning a chain round in one batch makes no cycle.
	apply(t, s, registry.Batch{Writes: puts(simpleScope("a"), simpleScope("b", "a"), simpleScope("c", "b"), simpleScope("d", "c"))})
}

func TestApplyFollowsLongChains(t *testing.T) {
	t.Parallel()
	const n = 5_000
	var chain []registry.Resource
	for i := range n {
		chain = append(chain, simpleScope(fmt.Sprint(i), fmt.Sprint(i+1)))
	}
	s := newStore(t)
	apply(t, s, registry.Batch{Writes: puts(append(chain, simpleScope(fmt.Sprint(n)))...)})
	_, err := registry.Apply(t.Context(), s, registry.Batch{Writes: puts(simpleScope(fmt.Sprint(n), "0"))})
	if got := fmt.Sprint(err); !errors.Is(err, registry.ErrInvalid) || !strings.HasSuffix(got, "→ … → 5000") || len(got) > 500 {
		t.Errorf("error %.600s", got)
	}
}

func TestApplyPrune(t *testing.T) {
	t.Parallel()
	internal := &registry.SessionKey{Name: "k", Secret: make([]byte, 32)}
	s := newStore(t, append(examples(), internal, simpleScope("a"))...)
	// What stays still names what goes.
	refused(t, s, registry.Batch{Writes: puts(exampleServer()), Prune: true},
		"server/weather: access.issuers[0]: names issuer/corp, which this change deletes",
		"server/weather: access.baselineScopes[0]: names scope/weather:read, which this change deletes")
	r := apply(t, s, registry.Batch{Writes: append(puts(exampleIssuer()), deletes(key(registry.KindScope, "a"))...), Prune: true})
	wantActions(t, r, "issuer/corp unchanged 1", "scope/a deleted 2", "group//lob1/users deleted 2", "scope/weather:read deleted 2", "server/weather deleted 2")
	snap, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(snap.Resources) != 2 || snap.Resources[1].Key().Kind != registry.KindSessionKey {
		t.Errorf("left are %v", snap.Resources)
	}
}

func TestApplyWarnings(t *testing.T) {
	t.Parallel()
	forward := &registry.Server{Name: "forward", Upstream: registry.Upstream{URL: "http://10.0.0.1/", ForwardClientToken: true}}
	inClear := &registry.Server{Name: "clear", Upstream: registry.Upstream{URL: "http://h/", Credential: &registry.Credential{Secret: "env:A"}}}
	fine := &registry.Server{Name: "fine", Upstream: registry.Upstream{URL: "http://localhost:1/", Credential: &registry.Credential{Secret: "env:A"}}}
	empty := &registry.Scope{Name: "empty"}
	redundant := &registry.Scope{Name: "redundant", Rules: []registry.Rule{{Servers: []string{"*"}, Methods: []string{"x/y", "tools/list", "notifications/a"}}}}
	group := &registry.Group{Name: "g"}
	batch := registry.Batch{Writes: puts(forward, inClear, fine, empty, redundant, group, exampleIssuer())}
	want := []string{
		"server/forward: upstream.forwardClientToken: the upstream gets the client's own access token and can use it elsewhere; the MCP specification forbids it",
		"server/forward: upstream.url: messages and the client's token cross the network in clear text: use https",
		"server/clear: upstream.url: messages and the upstream's credential cross the network in clear text: use https",
		"scope/empty: the scope grants nothing: it has neither rules nor includes",
		"scope/redundant: rules[0].methods[1]: tools/list need not be named: any rule that names the server grants it",
		"scope/redundant: rules[0].methods[2]: notifications/a need not be named: any rule that names the server grants it",
		"group/g: scopes: the group gives nothing",
	}
	s := newStore(t)
	for range 2 { // also when nothing changes
		var got []string
		for _, p := range apply(t, s, batch).Warnings {
			got = append(got, p.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("warnings (-want +got):\n%s", diff)
		}
	}
}

// countingStore counts what transactions read.
type countingStore struct {
	registry.Store
	gets, lists, referrers int
	again                  bool
}

func (c *countingStore) Update(ctx context.Context, fn func(registry.Tx) error) (int64, error) {
	if c.again {
		// A store may run the function more than once.
		_, _ = c.Store.Update(ctx, func(tx registry.Tx) error { return errors.Join(fn(tx), errors.New("once more")) })
	}
	return c.Store.Update(ctx, func(tx registry.Tx) error { return fn(countingTx{tx, c}) })
}

type countingTx struct {
	registry.Tx
	c *countingStore
}

func (t countingTx) Get(k registry.Key) (registry.Resource, error) { t.c.gets++; return t.Tx.Get(k) }

func (t countingTx) List(k registry.Kind) ([]registry.Key, error) { t.c.lists++; return t.Tx.List(k) }

func (t countingTx) Referrers(k registry.Key) ([]registry.Key, error) {
	t.c.referrers++
	return t.Tx.Referrers(k)
}

func TestApplyCostDoesNotGrowWithTheRegistry(t *testing.T) {
	t.Parallel()
	var counts []countingStore
	for _, n := range []int{10, 1000} {
		resources := examples()
		for i := range n {
			resources = append(resources, simpleScope(fmt.Sprintf("s%d", i)), &registry.Group{Name: fmt.Sprintf("g%d", i), Scopes: []string{fmt.Sprintf("s%d", i)}})
		}
		c := &countingStore{Store: newStore(t, resources...)}
		changed := exampleServer()
		changed.Title = "new"
		apply(t, c, registry.Batch{Writes: append(puts(changed, simpleScope("s1", "s2"), &registry.Group{Name: "g0", Scopes: []string{"s2"}}), deletes(key(registry.KindScope, "s0"))...)})
		c.Store = nil
		counts = append(counts, *c)
	}
	if counts[0] != counts[1] || counts[0].lists != 0 {
		t.Errorf("reads %+v with 10, %+v with 1000", counts[0], counts[1])
	}
}

func TestApplyWhenTheTransactionRunsTwice(t *testing.T) {
	t.Parallel()
	c := &countingStore{Store: newStore(t), again: true}
	r := apply(t, c, registry.Batch{Writes: puts(examples()...)})
	if len(r.Outcomes) != 4 || slices.ContainsFunc(r.Outcomes, func(o registry.Outcome) bool { return o.Action != registry.Created }) {
		t.Errorf("outcomes %v", actions(r))
	}
}

func TestApplyPassesErrorsOn(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := registry.Apply(ctx, newStore(t), registry.Batch{Writes: puts(simpleScope("a"))}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	s := registrytest.NewMemory()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Apply(t.Context(), s, registry.Batch{Writes: puts(simpleScope("a"))}); !errors.Is(err, registry.ErrClosed) {
		t.Errorf("error %v", err)
	}
}
