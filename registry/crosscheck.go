package registry

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// maxListed bounds how many referrers one message names.
const maxListed = 20

// check reports what is wrong with the transaction's outcome: a reference to
// something that does not exist, a deletion of something that is still
// referred to, and a cycle of includes. The registry was valid before, so only
// what the batch touched can be wrong.
func (a *application) check() ([]Problem, error) {
	var list []Problem
	exists := make(map[Key]bool)
	for _, out := range a.outcomes {
		var err error
		if r := a.puts[out.Key]; r != nil {
			list, err = a.checkReferences(list, r, exists)
		} else {
			list, err = a.checkDeleted(list, out.Key)
		}
		if err != nil {
			return nil, err
		}
	}
	opaque, err := a.checkIntrospection()
	if err != nil {
		return nil, err
	}
	list = append(list, opaque...)
	cycles, err := a.findCycles()
	return append(list, cycles...), err
}

// checkReferences appends the mentions of resources that do not exist. exists
// remembers answers of the transaction.
func (a *application) checkReferences(list []Problem, r Resource, exists map[Key]bool) ([]Problem, error) {
	ref, ok := r.(referrer)
	if !ok {
		return list, nil
	}
	var failed error
	ref.references(func(m reference) {
		found, known := exists[m.key]
		if !known && failed == nil {
			_, err := a.tx.Get(m.key)
			if found = err == nil; err != nil && !errors.Is(err, ErrNotFound) {
				failed = err
				return
			}
			exists[m.key] = found
		}
		switch {
		case found || failed != nil:
		case a.deletes[m.key]:
			list = append(list, Problem{Key: r.Key(), Field: m.path(), Message: fmt.Sprintf("names %s, which this change deletes", m.key)})
		default:
			list = append(list, Problem{Key: r.Key(), Field: m.path(), Message: fmt.Sprintf("names %s, which does not exist", m.key)})
		}
	})
	return list, failed
}

// checkDeleted appends a problem that names every resource which still refers
// to a deleted one. What the batch put is left out: checkReferences has seen
// it, with the field.
func (a *application) checkDeleted(list []Problem, key Key) ([]Problem, error) {
	referrers, err := a.tx.Referrers(key)
	if err != nil {
		return nil, err
	}
	referrers = slices.DeleteFunc(slices.Clone(referrers), func(k Key) bool { return a.puts[k] != nil })
	if len(referrers) == 0 {
		return list, nil
	}
	var names []string
	for _, k := range referrers[:min(len(referrers), maxListed)] {
		names = append(names, k.String())
	}
	if more := len(referrers) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return append(list, Problem{Key: key, Message: "cannot be deleted: it is still named by " + strings.Join(names, ", ")}), nil
}

// findCycles looks for scopes that include each other. A new cycle has a scope
// of the batch in it, so a depth-first walk from those finds it; each scope is
// entered once.
func (a *application) findCycles() ([]Problem, error) {
	w := includeWalk{application: a, state: make(map[string]walkState)}
	for _, key := range slices.SortedFunc(maps.Keys(a.puts), Key.Compare) {
		if key.Kind != KindScope {
			continue
		}
		if err := w.from(key.Name); err != nil {
			return nil, err
		}
	}
	return w.cycles, nil
}

type walkState uint8

const (
	unseen walkState = iota
	onPath
	finished
)

// includeWalk is a depth-first walk along includes, with its own stack: the
// depth is the user's.
type includeWalk struct {
	*application
	state  map[string]walkState
	path   []includeStep
	cycles []Problem
}

type includeStep struct {
	name     string
	includes []string
	// next is the index of the include to follow next.
	next int
}

func (w *includeWalk) from(name string) error {
	if err := w.enter(name); err != nil {
		return err
	}
	for len(w.path) > 0 {
		top := &w.path[len(w.path)-1]
		if top.next == len(top.includes) {
			w.state[top.name] = finished
			w.path = w.path[:len(w.path)-1]
			continue
		}
		child := top.includes[top.next]
		top.next++
		if w.state[child] == onPath {
			w.report(child)
		} else if err := w.enter(child); err != nil {
			return err
		}
	}
	return nil
}

// enter puts a scope that has not been seen on the path.
func (w *includeWalk) enter(name string) error {
	if w.state[name] != unseen {
		return nil
	}
	r, err := w.tx.Get(Key{KindScope, name})
	if errors.Is(err, ErrNotFound) {
		return nil // reported by checkReferences
	}
	if err != nil {
		return err
	}
	s, ok := r.(*Scope)
	if !ok {
		return fmt.Errorf("%s: %w", Key{KindScope, name}, ErrCorrupt)
	}
	w.state[name] = onPath
	w.path = append(w.path, includeStep{name: name, includes: s.Includes})
	return nil
}

// report records the cycle from first to the end of the path and back to
// first, with the field of a scope of the batch.
func (w *includeWalk) report(first string) {
	start := slices.IndexFunc(w.path, func(s includeStep) bool { return s.name == first })
	cycle := w.path[start:]
	if len(cycle) == 1 {
		return // validate has refused a scope that includes itself
	}
	at := slices.IndexFunc(cycle, func(s includeStep) bool { return w.puts[Key{KindScope, s.name}] != nil })
	at = max(at, 0)
	names := make([]string, 0, len(cycle)+1)
	for i := range len(cycle) + 1 {
		names = append(names, cycle[(at+i)%len(cycle)].name)
	}
	if len(names) > maxListed {
		names = append(append(names[:maxListed:maxListed], "…"), names[len(names)-1])
	}
	p := Problem{Key: Key{KindScope, cycle[at].name}, Field: fmt.Sprintf("includes[%d]", cycle[at].next-1)}
	if slices.ContainsFunc(w.cycles, func(o Problem) bool { return o.Key == p.Key && o.Field == p.Field }) {
		return // the same include, by a second way
	}
	p.Message = "makes a cycle: " + strings.Join(names, " → ")
	w.cycles = append(w.cycles, p)
}
