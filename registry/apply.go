package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Write is one step of a Batch: exactly one of Resource and Delete is set.
type Write struct {
	// Resource is to be stored; its Metadata is ignored.
	Resource Resource
	// Delete is the key of a resource to be removed.
	Delete *Key
	// Revision, when set, makes the write conditional: the resource must be at
	// this revision; 0 means that it must not exist.
	Revision *int64
}

// Batch is a set of writes that happen together or not at all.
type Batch struct {
	Writes []Write
	// Prune deletes every resource of the user's kinds that Writes do not put,
	// but no Revocation: what was revoked by hand must not come back with the
	// next deployment.
	Prune bool
	// DryRun checks everything and changes nothing.
	DryRun bool
}

// Action is what a Write came to.
type Action string

// The actions, in the words shown to users.
const (
	Created    Action = "created"
	Configured Action = "configured"
	Unchanged  Action = "unchanged"
	Deleted    Action = "deleted"
)

// Outcome is what happened to one resource.
type Outcome struct {
	Key    Key
	Action Action
	// Revision is the resource's, or that of its deletion. In a dry run it is
	// the one the resource has now, 0 when it does not exist.
	Revision int64
}

// Result is the outcome of a Batch.
type Result struct {
	// Outcomes are in the order of the writes, then the pruned resources in
	// the order in which they were deleted.
	Outcomes []Outcome
	// Warnings are about what was written: legal, but suspicious.
	Warnings []Problem
	// Revision of the store after the batch.
	Revision int64
}

// errDryRun ends the transaction of a dry run.
var errDryRun = errors.New("dry run")

// Apply validates the batch, each resource alone and all against what the
// store holds, and writes it in one transaction. Its cost grows with the batch
// and what refers to it, not with the registry, unless it prunes.
//
// The error is an *InvalidError with every problem, wraps ErrConflict when a
// condition does not hold, ErrNotFound when a resource to be deleted does not
// exist, or comes from the store; then nothing has changed.
func Apply(ctx context.Context, store Store, b Batch) (Result, error) {
	if list := checkBatch(b); len(list) > 0 {
		return Result{}, invalid(list)
	}
	var a *application
	revision, err := store.Update(ctx, func(tx Tx) error {
		// The function may be run again: it starts from nothing.
		a = &application{tx: tx, puts: make(map[Key]Resource), deletes: make(map[Key]bool)}
		if err := a.run(b); err != nil {
			return err
		}
		if b.DryRun {
			return errDryRun
		}
		return nil
	})
	if b.DryRun && errors.Is(err, errDryRun) {
		// A page of one tells the revision.
		page, err := store.List(ctx, KindIssuer, ListOptions{Limit: 1})
		if err != nil {
			return Result{}, err
		}
		return Result{Outcomes: a.outcomes, Warnings: a.warnings, Revision: page.Revision}, nil
	}
	if err != nil {
		return Result{}, err
	}
	for i, o := range a.outcomes {
		if o.Action != Unchanged {
			a.outcomes[i].Revision = revision
		}
	}
	return Result{Outcomes: a.outcomes, Warnings: a.warnings, Revision: revision}, nil
}

// invalid is the error of a batch with problems, of which it keeps a bounded
// number.
func invalid(list []Problem) error {
	const limit = 1000
	if more := len(list) - limit; more > 0 {
		list = append(list[:limit:limit], Problem{Key: list[limit].Key, Message: fmt.Sprintf("and %d more problems, which are not listed", more)})
	}
	return &InvalidError{Problems: list}
}

// checkBatch reports what can be seen without the store.
func checkBatch(b Batch) []Problem {
	var list []Problem
	seen := make(map[Key]bool, len(b.Writes))
	for i, w := range b.Writes {
		var key Key
		switch {
		case w.Resource != nil && w.Delete == nil:
			key = w.Resource.Key()
		case w.Resource == nil && w.Delete != nil:
			key = *w.Delete
		default:
			list = append(list, Problem{Message: fmt.Sprintf("write %d must either put or delete a resource", i)})
			continue
		}
		switch {
		case !slices.Contains(Kinds(), key.Kind):
			list = append(list, Problem{Key: key, Message: "is not of a kind that can be written"})
		case seen[key]:
			list = append(list, Problem{Key: key, Message: "is written twice"})
		case w.Resource != nil:
			list = append(list, validate(w.Resource)...)
		}
		if w.Revision != nil && *w.Revision < 0 {
			list = append(list, Problem{Key: key, Message: "has a negative revision as its condition"})
		}
		seen[key] = true
	}
	return list
}

// application is one run of a batch in a transaction.
type application struct {
	tx       Tx
	puts     map[Key]Resource
	deletes  map[Key]bool
	outcomes []Outcome
	warnings []Problem
}

func (a *application) run(b Batch) error {
	for _, w := range b.Writes {
		if err := a.write(w); err != nil {
			return err
		}
	}
	if b.Prune {
		if err := a.prune(); err != nil {
			return err
		}
	}
	list, err := a.check()
	if err != nil {
		return err
	}
	if len(list) > 0 {
		return invalid(list)
	}
	return nil
}

func (a *application) write(w Write) error {
	var key Key
	if w.Delete != nil {
		key = *w.Delete
	} else {
		key = w.Resource.Key()
	}
	prev, err := a.tx.Get(key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	exists := err == nil
	if err := checkCondition(key, prev, exists, w.Revision); err != nil {
		return err
	}
	out := Outcome{Key: key}
	if exists {
		out.Revision = prev.Meta().Revision
	}
	if w.Delete != nil {
		if !exists {
			return fmt.Errorf("%s: %w", key, ErrNotFound)
		}
		return a.remove(out)
	}
	switch {
	case !exists:
		out.Action = Created
	case Equal(prev, w.Resource):
		out.Action = Unchanged
	default:
		out.Action = Configured
	}
	if out.Action != Unchanged {
		if err := a.tx.Put(w.Resource); err != nil {
			return err
		}
	}
	a.puts[key] = w.Resource
	a.outcomes = append(a.outcomes, out)
	a.warnings = append(a.warnings, Warnings(w.Resource)...)
	return nil
}

func checkCondition(key Key, prev Resource, exists bool, want *int64) error {
	switch {
	case want == nil:
		return nil
	case *want == 0 && exists:
		return fmt.Errorf("%s: %w: it already exists, at revision %d", key, ErrConflict, prev.Meta().Revision)
	case *want != 0 && !exists:
		return fmt.Errorf("%s: %w: it does not exist, and revision %d was expected", key, ErrConflict, *want)
	case exists && prev.Meta().Revision != *want:
		return fmt.Errorf("%s: %w: it is at revision %d, and %d was expected", key, ErrConflict, prev.Meta().Revision, *want)
	}
	return nil
}

func (a *application) remove(out Outcome) error {
	if err := a.tx.Delete(out.Key); err != nil {
		return err
	}
	out.Action = Deleted
	a.deletes[out.Key] = true
	a.outcomes = append(a.outcomes, out)
	return nil
}

// prune deletes whatever the batch did not put, referrers before what they
// refer to, as far as the kinds tell.
func (a *application) prune() error {
	for _, kind := range slices.Backward(Kinds()) {
		if kind == KindRevocation {
			continue
		}
		keys, err := a.tx.List(kind)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if _, ok := a.puts[key]; ok {
				continue
			}
			r, err := a.tx.Get(key)
			if err != nil {
				return err
			}
			if err := a.remove(Outcome{Key: key, Revision: r.Meta().Revision}); err != nil {
				return err
			}
		}
	}
	return nil
}
