package task

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mcpgate/mcpgate/extauthz/session"
	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/registrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	alice   = session.Owner{Issuer: "corp", Subject: "alice", Client: "cli", Server: "weather"}
	mallory = session.Owner{Issuer: "corp", Subject: "mallory", Client: "cli", Server: "weather"}
)

// clock is a time that a test moves.
type clock struct{ unix atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.unix.Store(1_800_000_000)
	return c
}

func (c *clock) now() time.Time          { return time.Unix(c.unix.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.unix.Add(int64(d / time.Second)) }

func bindOK(t testing.TB, table *Table, o session.Owner, id string, ttl time.Duration) {
	t.Helper()
	if err := table.Bind(t.Context(), o, 3, id, ttl); err != nil {
		t.Fatalf("Bind(%s, %s): %v", o.Subject, id, err)
	}
}

// replica is another gateway's table over the same store.
func replica(t testing.TB, store registry.Store, c Config) *Table {
	t.Helper()
	c.Store = store
	table := New(c)
	snap, err := store.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	table.Load(snap)
	return table
}

func stored(t testing.TB, store registry.Store) []*registry.Task {
	t.Helper()
	page, err := store.List(t.Context(), registry.KindTask, registry.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var all []*registry.Task
	for _, r := range page.Resources {
		task, ok := r.(*registry.Task)
		if !ok {
			t.Fatalf("stored %T", r)
		}
		all = append(all, task)
	}
	return all
}

// TestOnlyTheStarterOwns: another principal, server, generation or id does
// not, however close.
func TestOnlyTheStarterOwns(t *testing.T) {
	t.Parallel()
	table := New(Config{Store: registrytest.NewMemory()})
	bindOK(t, table, alice, "t-1", 0)
	if !table.Owns(alice, 3, "t-1") {
		t.Fatal("the starter does not own the task")
	}
	other := func(fn func(*session.Owner)) session.Owner {
		o := alice
		fn(&o)
		return o
	}
	for name, o := range map[string]session.Owner{
		"issuer":          other(func(o *session.Owner) { o.Issuer = "partner" }),
		"subject":         mallory,
		"client":          other(func(o *session.Owner) { o.Client = "other" }),
		"no client":       other(func(o *session.Owner) { o.Client = "" }),
		"server":          other(func(o *session.Owner) { o.Server = "news" }),
		"border moved":    other(func(o *session.Owner) { o.Issuer, o.Subject = "cor", "palice" }),
		"border moved on": other(func(o *session.Owner) { o.Subject, o.Client = "alicec", "li" }),
		"nobody":          {},
	} {
		if table.Owns(o, 3, "t-1") {
			t.Errorf("another %s owns the task", name)
		}
	}
	for _, id := range []string{"", "t-", "t-1 ", "T-1", "t-11", "t-1\x00"} {
		if table.Owns(alice, 3, id) {
			t.Errorf("%q is owned", id)
		}
	}
	if table.Owns(alice, 2, "t-1") || table.Owns(alice, 4, "t-1") || table.Owns(alice, 31, "-1") {
		t.Error("the task is owned on another upstream")
	}
}

// TestBindingIsDurable: what Bind has acknowledged is in the store, and another
// gateway and a later one know it. No id and no name of a caller is in the store.
func TestBindingIsDurable(t *testing.T) {
	t.Parallel()
	store := registrytest.NewMemory()
	bindOK(t, New(Config{Store: store}), alice, "bearer-of-the-task", 0)
	if !replica(t, store, Config{}).Owns(alice, 3, "bearer-of-the-task") || replica(t, store, Config{}).Owns(mallory, 3, "bearer-of-the-task") {
		t.Error("another gateway does not know whose the task is")
	}
	all := stored(t, store)
	if len(all) != 1 || registry.Validate(all[0]) != nil {
		t.Fatalf("stored %v", all)
	}
	text, err := registry.Encode(all[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"bearer", "alice", "corp", "cli"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("%q is in the store: %s", secret, text)
		}
	}
}

func TestBindRefusesIDsThatNoRequestCanName(t *testing.T) {
	t.Parallel()
	table := New(Config{Store: registrytest.NewMemory()})
	for _, id := range []string{"", strings.Repeat("a", MaxID+1)} {
		if err := table.Bind(t.Context(), alice, 3, id, 0); !errors.Is(err, ErrID) {
			t.Errorf("%.9q: %v", id, err)
		}
	}
	bindOK(t, table, alice, strings.Repeat("a", MaxID), 0)
}

// TestTaskOfTwoIsNobodys: an upstream that uses an id twice could show one
// principal the data of the other.
func TestTaskOfTwoIsNobodys(t *testing.T) {
	t.Parallel()
	clock, store := newClock(), registrytest.NewMemory()
	table := New(Config{Store: store, Now: clock.now, TTL: 2 * time.Hour})
	bindOK(t, table, alice, "1", 0)
	clock.advance(time.Hour)
	if err := table.Bind(t.Context(), mallory, 3, "1", 0); !errors.Is(err, ErrContested) {
		t.Fatalf("Bind: %v", err)
	}
	for range 2 {
		for _, table := range []*Table{table, replica(t, store, Config{Now: clock.now})} {
			if table.Owns(alice, 3, "1") || table.Owns(mallory, 3, "1") || table.Owns(session.Owner{}, 3, "1") {
				t.Error("somebody owns the task")
			}
		}
		// The first one cannot get it back.
		if err := table.Bind(t.Context(), alice, 3, "1", 0); !errors.Is(err, ErrContested) {
			t.Errorf("Bind: %v", err)
		}
	}
	if m := table.Metrics(); m.Contested != 3 || m.Bindings != 1 {
		t.Errorf("metrics %+v", m)
	}
	// The time of the later one counts.
	clock.advance(2*time.Hour - time.Second)
	if err := table.Bind(t.Context(), alice, 3, "1", 0); !errors.Is(err, ErrContested) {
		t.Errorf("Bind: %v", err)
	}
	clock.advance(2 * time.Hour)
	bindOK(t, table, mallory, "1", 0)
	if !table.Owns(mallory, 3, "1") || table.Owns(alice, 3, "1") {
		t.Error("the task of a new time is not its starter's")
	}
}

// TestReplicasContest: the store decides, not a table that is behind.
func TestReplicasContest(t *testing.T) {
	t.Parallel()
	store := registrytest.NewMemory()
	a, b := New(Config{Store: store}), New(Config{Store: store})
	bindOK(t, a, alice, "1", 0)
	if err := b.Bind(t.Context(), mallory, 3, "1", 0); !errors.Is(err, ErrContested) {
		t.Fatalf("Bind: %v", err)
	}
	if b.Owns(mallory, 3, "1") || b.Owns(alice, 3, "1") {
		t.Error("somebody owns the task")
	}
}

func TestLifetimes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ limit, ttl, want time.Duration }{
		{24 * time.Hour, 0, 24 * time.Hour},
		{24 * time.Hour, -time.Hour, 24 * time.Hour},
		{24 * time.Hour, 6 * time.Hour, 6 * time.Hour},
		{24 * time.Hour, 24 * time.Hour, 24 * time.Hour},
		{24 * time.Hour, 25 * time.Hour, 24 * time.Hour},
		{24 * time.Hour, time.Millisecond, time.Hour},
		{10 * time.Minute, time.Millisecond, 10 * time.Minute},
		{10 * time.Minute, time.Hour, 10 * time.Minute},
	} {
		clock := newClock()
		table := New(Config{Store: registrytest.NewMemory(), Now: clock.now, TTL: tc.limit})
		bindOK(t, table, alice, "t", tc.ttl)
		clock.advance(tc.want - time.Second)
		if !table.Owns(alice, 3, "t") {
			t.Errorf("ttl %s of at most %s ends before %s", tc.ttl, tc.limit, tc.want)
		}
		clock.advance(time.Second)
		if table.Owns(alice, 3, "t") {
			t.Errorf("ttl %s of at most %s does not end after %s", tc.ttl, tc.limit, tc.want)
		}
	}
}

// TestBindingAgainWritesOnlyWhenItMatters: a client that replays a stream again
// and again causes no writes.
func TestBindingAgainWritesOnlyWhenItMatters(t *testing.T) {
	t.Parallel()
	clock, store := newClock(), registrytest.NewMemory()
	table := New(Config{Store: store, Now: clock.now, MaxPerPrincipal: 1})
	bindOK(t, table, alice, "t", 2*time.Hour)
	revision := func() int64 { return stored(t, store)[0].Metadata.Revision }
	first := revision()
	for range 5 {
		clock.advance(10 * time.Second)
		bindOK(t, table, alice, "t", 2*time.Hour)
	}
	bindOK(t, table, alice, "t", time.Hour)
	if revision() != first {
		t.Error("binding again was written")
	}
	clock.advance(time.Minute)
	bindOK(t, table, alice, "t", 2*time.Hour)
	if revision() == first {
		t.Error("the time was not lengthened")
	}
	clock.advance(2*time.Hour - time.Second)
	if !table.Owns(alice, 3, "t") || table.Metrics().Evicted != 0 {
		t.Errorf("not owned; metrics %+v", table.Metrics())
	}
}

// TestTasksPerPrincipalAtTheLimit: one more, and the oldest goes; those of others
// stay.
func TestTasksPerPrincipalAtTheLimit(t *testing.T) {
	t.Parallel()
	const limit = 3
	store := registrytest.NewMemory()
	table := New(Config{Store: store, MaxPerPrincipal: limit})
	bindOK(t, table, mallory, "m", 0)
	for i := range limit {
		bindOK(t, table, alice, fmt.Sprint(i), 0)
	}
	for i := range limit {
		if !table.Owns(alice, 3, fmt.Sprint(i)) {
			t.Errorf("task %d is not owned", i)
		}
	}
	bindOK(t, table, alice, "one more", 0)
	for _, table := range []*Table{table, replica(t, store, Config{})} {
		if table.Owns(alice, 3, "0") || !table.Owns(alice, 3, "1") || !table.Owns(alice, 3, "2") || !table.Owns(alice, 3, "one more") || !table.Owns(mallory, 3, "m") {
			t.Error("not exactly the oldest is gone")
		}
	}
	// A limit that is lower than what there is.
	lower := replica(t, store, Config{MaxPerPrincipal: 1})
	bindOK(t, lower, alice, "the last", 0)
	if n := len(stored(t, store)); n != 2 || !lower.Owns(alice, 3, "the last") || !lower.Owns(mallory, 3, "m") {
		t.Errorf("%d stored", n)
	}
	if m := table.Metrics(); m.Evicted != 1 {
		t.Errorf("metrics %+v", m)
	}
}

// TestTasksInAllAtTheLimit: one more is refused, whoever asks; what is there
// stays.
func TestTasksInAllAtTheLimit(t *testing.T) {
	t.Parallel()
	clock, store := newClock(), registrytest.NewMemory()
	table := New(Config{Store: store, Max: 2, Now: clock.now})
	bindOK(t, table, alice, "1", 0)
	bindOK(t, table, alice, "2", 0)
	for _, o := range []session.Owner{alice, mallory} {
		if err := table.Bind(t.Context(), o, 3, "3", 0); !errors.Is(err, ErrFull) || table.Owns(o, 3, "3") {
			t.Errorf("Bind: %v", err)
		}
	}
	bindOK(t, table, alice, "2", 0)
	if m := table.Metrics(); m.Full != 2 || m.Bindings != 2 || !table.Owns(alice, 3, "1") {
		t.Errorf("metrics %+v", m)
	}
	clock.advance(DefaultTTL)
	if err := table.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	bindOK(t, table, mallory, "3", 0)
}

// TestLimitsHoldUnderConcurrency has many callers start tasks at once.
func TestLimitsHoldUnderConcurrency(t *testing.T) {
	t.Parallel()
	store := registrytest.NewMemory()
	table := New(Config{Store: store, Max: 40, MaxPerPrincipal: 5})
	var all sync.WaitGroup
	var full atomic.Int64
	for i := range 200 {
		all.Go(func() {
			o := alice
			o.Subject = fmt.Sprint(i % 10)
			err := table.Bind(context.Background(), o, 3, fmt.Sprint(i), 0)
			if errors.Is(err, ErrFull) {
				full.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	perOwner := make(map[string]int)
	for _, r := range stored(t, store) {
		if perOwner[r.Owner]++; perOwner[r.Owner] > 5 {
			t.Errorf("%d tasks of one principal", perOwner[r.Owner])
		}
	}
	if m := table.Metrics(); m.Bindings != len(stored(t, store)) || m.Bindings > 40 || int64(m.Full) != full.Load() || table.pending != 0 {
		t.Errorf("metrics %+v, %d stored", m, len(stored(t, store)))
	}
}

func TestSweepRemovesWhatHasExpired(t *testing.T) {
	t.Parallel()
	clock, store := newClock(), registrytest.NewMemory()
	table := New(Config{Store: store, Now: clock.now})
	const many = sweepBatch + 50
	_, err := store.Update(t.Context(), func(tx registry.Tx) error {
		for i := range many {
			if err := tx.Put(&registry.Task{Name: nameOf("s", 1, fmt.Sprint(i)).String(), Server: "s", Owner: ownerOf(mallory).String(), ExpiresAt: clock.now().Unix() + 3600}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	snap, err := store.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	table.Load(snap)
	bindOK(t, table, alice, "stays", 2*time.Hour)
	if err := table.Sweep(t.Context()); err != nil || table.Metrics().Bindings != many+1 {
		t.Errorf("%v, metrics %+v", err, table.Metrics())
	}
	clock.advance(time.Hour)
	for range 2 {
		if err := table.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(stored(t, store)); n != 1 || table.Metrics().Bindings != 1 || !table.Owns(alice, 3, "stays") {
			t.Errorf("%d stored, metrics %+v", n, table.Metrics())
		}
	}
}

// TestSweepSparesWhatAnotherGatewayHasLengthened: its own memory may be behind.
func TestSweepSparesWhatAnotherGatewayHasLengthened(t *testing.T) {
	t.Parallel()
	clock, store := newClock(), registrytest.NewMemory()
	a := New(Config{Store: store, Now: clock.now})
	bindOK(t, a, alice, "t", time.Hour)
	b := replica(t, store, Config{Now: clock.now})
	bindOK(t, b, alice, "t", 5*time.Hour)
	clock.advance(time.Hour)
	if err := a.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(stored(t, store)) != 1 || !b.Owns(alice, 3, "t") {
		t.Error("the binding is gone")
	}
}

// failing is a Store that cannot write.
type failing struct{ err error }

func (f failing) Update(context.Context, func(registry.Tx) error) (int64, error) { return 0, f.err }

// TestBindThatCannotBeStoredBindsNothing also gives its room back.
func TestBindThatCannotBeStoredBindsNothing(t *testing.T) {
	t.Parallel()
	full := errors.New("disk full")
	table := New(Config{Store: failing{full}, Max: 1})
	for range 3 {
		if err := table.Bind(t.Context(), alice, 3, "t", 0); !errors.Is(err, full) || table.Owns(alice, 3, "t") {
			t.Errorf("Bind: %v", err)
		}
	}
	if m := table.Metrics(); m != (Metrics{}) || table.pending != 0 {
		t.Errorf("metrics %+v", m)
	}
	bindings := New(Config{Store: failing{full}, Now: newClock().now})
	bindings.Load(registry.Snapshot{Resources: []registry.Resource{&registry.Task{Name: nameOf("s", 1, "t").String(), ExpiresAt: 1}}})
	if err := bindings.Sweep(t.Context()); !errors.Is(err, full) {
		t.Errorf("Sweep: %v", err)
	}
}

// stuck is a Store that waits for its context.
type stuck struct{ entered chan struct{} }

func (s stuck) Update(ctx context.Context, _ func(registry.Tx) error) (int64, error) {
	s.entered <- struct{}{}
	<-ctx.Done()
	return 0, ctx.Err()
}

// TestStuckStoreEndsWithTheContext: both the call that waits for the store and
// the one that waits for its turn.
func TestStuckStoreEndsWithTheContext(t *testing.T) {
	t.Parallel()
	s := stuck{make(chan struct{}, 1)}
	table := New(Config{Store: s})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- table.Bind(ctx, alice, 3, "1", 0) }()
	<-s.entered
	go func() { done <- table.Bind(ctx, alice, 3, "2", 0) }()
	cancel()
	for range 2 {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Bind: %v", err)
		}
	}
}
