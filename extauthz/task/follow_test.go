package task

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mcpgate/mcpgate/extauthz/session"
	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/registrytest"
)

func taskOf(o session.Owner, id string, revision int64) *registry.Task {
	return &registry.Task{
		Name: nameOf(o.Server, 3, id).String(), Server: o.Server, Owner: ownerOf(o).String(),
		ExpiresAt: time.Now().Add(time.Hour).Unix(), Metadata: registry.Metadata{Revision: revision},
	}
}

func put(revision int64, r registry.Resource) registry.Event {
	return registry.Event{Revision: revision, Changes: []registry.Change{{Key: r.Key(), Resource: r}}}
}

func drop(revision int64, r registry.Resource) registry.Event {
	return registry.Event{Revision: revision, Changes: []registry.Change{{Key: r.Key()}}}
}

// TestLateNewsDoNotUndoWhatWasWritten: the registry tells a table of its own
// writes later than it made them, and of others' before.
func TestLateNewsDoNotUndoWhatWasWritten(t *testing.T) {
	t.Parallel()
	mine := taskOf(alice, "t", 0)
	wrote := []registry.Change{{Key: mine.Key(), Resource: mine}}

	table := New(Config{})
	table.wrote(wrote, 7)
	table.Apply(drop(5, mine))
	if !table.Owns(alice, 3, "t") {
		t.Error("an older deletion undid the binding")
	}
	table.Load(registry.Snapshot{Revision: 6})
	if !table.Owns(alice, 3, "t") {
		t.Error("an older snapshot undid the binding")
	}
	table.Apply(put(7, mine))
	table.Apply(drop(8, mine))
	if table.Owns(alice, 3, "t") {
		t.Error("a newer deletion did not count")
	}

	// The write returns after its news, and after what came next.
	table = New(Config{})
	table.Apply(put(7, mine))
	table.Apply(drop(8, mine))
	table.wrote(wrote, 7)
	if table.Owns(alice, 3, "t") {
		t.Error("a binding came back")
	}
	table = New(Config{})
	contested := taskOf(alice, "t", 8)
	contested.Owner = ""
	table.Load(registry.Snapshot{Revision: 8, Resources: []registry.Resource{contested}})
	table.wrote(wrote, 7)
	if table.Owns(alice, 3, "t") {
		t.Error("a contested task is owned")
	}
}

// TestUnreadableRecordsBindNothing: and other kinds are none of its business.
func TestUnreadableRecordsBindNothing(t *testing.T) {
	t.Parallel()
	good := taskOf(alice, "t", 1)
	for name, change := range map[string]func(*registry.Task){
		"name":        func(r *registry.Task) { r.Name = "x" },
		"short name":  func(r *registry.Task) { r.Name = r.Name[:20] },
		"owner":       func(r *registry.Task) { r.Owner = "x" },
		"short owner": func(r *registry.Task) { r.Owner = r.Owner[:40] },
		"no owner":    func(r *registry.Task) { r.Owner = "" },
		"no time":     func(r *registry.Task) { r.ExpiresAt = 0 },
	} {
		bad := *good
		change(&bad)
		table := New(Config{})
		table.Load(registry.Snapshot{Revision: 1, Resources: []registry.Resource{&bad, &registry.Server{Name: "weather"}}})
		table.Apply(put(2, &bad))
		if table.Owns(alice, 3, "t") {
			t.Errorf("%s: owned", name)
		}
	}
	table := New(Config{})
	table.Apply(put(1, good))
	table.Apply(drop(2, &registry.Group{Name: good.Name}))
	if !table.Owns(alice, 3, "t") {
		t.Error("the deletion of another kind counted")
	}
}

// TestTablesAgreeWithAModel runs two gateways on one store, which hear of its
// changes at any later time, against a model that knows everything at once.
func TestTablesAgreeWithAModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		clock, store := newClock(), registrytest.NewMemory()
		config := Config{Store: store, Now: clock.now, MaxPerPrincipal: 2, TTL: 3 * time.Hour}
		tables := []*Table{New(config), New(config)}
		heard := make([]int64, len(tables))
		w, err := store.Watch(t.Context(), 0)
		if err != nil {
			rt.Fatal(err)
		}
		defer store.Close() //nolint:errcheck // in memory
		var events []registry.Event
		owners := []session.Owner{alice, mallory}
		ids := []string{"1", "2", "3", "4"}
		// record is what the store must hold of an id.
		type record struct {
			owner     int // negative: nobody
			ends, age int64
		}
		model := make(map[string]record)
		age := int64(0)
		catchUp := func(i int, upTo int64) {
			for ; heard[i] < upTo; heard[i]++ {
				tables[i].Apply(events[heard[i]])
			}
		}
		pull := func() {
			page, err := store.List(t.Context(), registry.KindTask, registry.ListOptions{Limit: 1})
			if err != nil {
				rt.Fatal(err)
			}
			for int64(len(events)) < page.Revision {
				events = append(events, <-w.Events())
			}
		}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			i, now := rapid.IntRange(0, 1).Draw(rt, "gateway"), clock.now().Unix()
			switch rapid.IntRange(0, 5).Draw(rt, "step") {
			case 0:
				clock.advance(time.Duration(rapid.IntRange(1, 90).Draw(rt, "minutes")) * time.Minute)
			case 1:
				catchUp(i, rapid.Int64Range(heard[i], int64(len(events))).Draw(rt, "up to"))
			case 2:
				if err := tables[i].Sweep(t.Context()); err != nil {
					rt.Fatal(err)
				}
				pull()
			default:
				// Limits and what needs no write are judged by what a gateway knows.
				catchUp(i, int64(len(events)))
				who, id := rapid.IntRange(0, 1).Draw(rt, "who"), rapid.SampledFrom(ids).Draw(rt, "id")
				hours := rapid.IntRange(1, 3).Draw(rt, "hours")
				err := tables[i].Bind(t.Context(), owners[who], 3, id, time.Duration(hours)*time.Hour)
				pull()
				old, known := model[id]
				next := record{who, now + int64(hours)*3600, age + 1}
				live := known && old.ends > now
				if live {
					next.ends = max(next.ends, old.ends)
					if old.owner != who {
						next.owner = -1
					} else if old.ends+slack >= now+int64(hours)*3600 {
						next.age = old.age
					}
				}
				if (next.owner < 0) != errors.Is(err, ErrContested) || err != nil && !errors.Is(err, ErrContested) {
					rt.Fatalf("Bind(%d, %s) on %+v: %v", who, id, old, err)
				}
				age++
				if next.owner >= 0 && (!known || old.owner != who) {
					// The oldest of its owner, expired ones that are still there included,
					// makes room.
					var mine []string
					for other, r := range model {
						if r.owner == who && other != id {
							mine = append(mine, other)
						}
					}
					if len(mine) >= 2 {
						oldest := mine[0]
						for _, other := range mine {
							if model[other].age < model[oldest].age {
								oldest = other
							}
						}
						delete(model, oldest)
					}
				}
				model[id] = next
			}
			// A sweep removes what the gateway knows to be over; the model learns of
			// it from the store.
			page, err := store.List(t.Context(), registry.KindTask, registry.ListOptions{})
			if err != nil {
				rt.Fatal(err)
			}
			there := make(map[string]bool)
			for _, r := range page.Resources {
				there[r.Key().Name] = true
			}
			for id, r := range model {
				if there[nameOf("weather", 3, id).String()] {
					continue
				}
				if r.ends > clock.now().Unix() {
					rt.Fatalf("task %s %+v is gone", id, r)
				}
				delete(model, id)
			}
			if len(there) != len(model) {
				rt.Fatalf("%d stored, %d in the model", len(there), len(model))
			}
		}
		for i := range tables {
			catchUp(i, int64(len(events)))
			for _, id := range ids {
				r, known := model[id]
				for who, o := range owners {
					want := known && r.owner == who && r.ends > clock.now().Unix()
					if got := tables[i].Owns(o, 3, id); got != want {
						rt.Fatalf("gateway %d: %s owns %s: %v, want %v (%+v)", i, o.Subject, id, got, want, r)
					}
				}
			}
		}
	})
}

func BenchmarkOwns(b *testing.B) {
	table := New(Config{})
	var rs []registry.Resource
	for i := range DefaultMax {
		o := alice
		o.Subject = fmt.Sprint(i % 1000)
		rs = append(rs, taskOf(o, fmt.Sprint(i), 1))
	}
	table.Load(registry.Snapshot{Revision: 1, Resources: rs})
	o := alice
	o.Subject = "7"
	b.ReportAllocs()
	for b.Loop() {
		if !table.Owns(o, 3, "7") {
			b.Fatal("not owned")
		}
	}
}
