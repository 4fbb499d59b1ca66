package task

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
	"github.com/mcpgate/mcpgate/extauthz/session"
	"github.com/mcpgate/mcpgate/registry"
)

// MaxID is the length in bytes of the longest id of a task that can be bound:
// no request can name a longer one.
const MaxID = rpcbody.MaxTaskID

// minKept is how long a binding lasts at least, if Config.TTL allows: a server
// may lengthen the ttl of a task, and keep its result for longer.
const minKept = time.Hour

// Errors of Bind, to be compared with errors.Is.
var (
	// ErrID: the id is empty or longer than MaxID.
	ErrID = errors.New("task id not usable")
	// ErrContested: the id was given to another principal, too.
	ErrContested = errors.New("task is of two principals")
	// ErrFull: there are as many bindings as there may be.
	ErrFull = errors.New("too many tasks")
)

// Bind makes the task of that id the owner's, for as long as the upstream says
// that it keeps the task: ttl after now, within the bounds of minKept and
// Config.TTL. A ttl that is not positive stands for "not said". It returns
// after the binding is durable. Binding again is no change, and may lengthen
// the time.
//
// The errors are ErrID, ErrContested, ErrFull and those of the store. After
// ErrContested, the task is nobody's.
func (t *Table) Bind(ctx context.Context, o session.Owner, generation int64, id string, ttl time.Duration) error {
	if id == "" || len(id) > MaxID {
		return ErrID
	}
	b := bind{
		table: t, server: o.Server, name: nameOf(o.Server, generation, id), owner: ownerOf(o),
		now: t.config.Now().Unix(),
	}
	b.expires = b.now + int64(t.lifetime(ttl)/time.Second)
	turn := t.turns[b.owner[0]%byte(len(t.turns))]
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	done, err := b.reserve()
	if done || err != nil {
		return err
	}
	defer b.release()
	return b.write(ctx)
}

// lifetime is how long the binding of a task with that ttl lasts.
func (t *Table) lifetime(ttl time.Duration) time.Duration {
	if ttl <= 0 || ttl > t.config.TTL {
		return t.config.TTL
	}
	return max(ttl, min(minKept, t.config.TTL))
}

// bind is one call of Bind.
type bind struct {
	table       *Table
	server      string
	name, owner digest
	now         int64
	expires     int64
	// victims are bindings of the owner that make room.
	victims []digest
	// contested is set when the task has become nobody's.
	contested bool
}

// slack is by how much, in seconds, a binding may end early before it is
// written again: a client that replays a stream writes nothing.
const slack = 60

// reserve makes room for a binding; done is true when there is nothing to do.
func (b *bind) reserve() (done bool, err error) {
	t := b.table
	t.mu.Lock()
	defer t.mu.Unlock()
	old, known := t.bindings[b.name]
	mine := known && old.owner == b.owner
	switch {
	case mine && old.expires > b.now && old.expires+slack >= b.expires:
		return true, nil
	case !known && len(t.bindings)+t.pending >= t.config.Max:
		t.full.Add(1)
		return false, ErrFull
	case !mine:
		b.victims = t.oldest(b.owner)
	}
	t.pending++
	return false, nil
}

func (b *bind) release() {
	b.table.mu.Lock()
	defer b.table.mu.Unlock()
	b.table.pending--
}

// write writes the binding. What the store holds decides, not the table, which
// may be behind another gateway's.
func (b *bind) write(ctx context.Context) error {
	var changes []registry.Change
	revision, err := b.table.config.Store.Update(ctx, func(tx registry.Tx) error {
		changes, b.contested = nil, false
		next, err := b.next(tx)
		if err != nil {
			return err
		}
		if !b.contested {
			if changes, err = b.evict(tx); err != nil {
				return err
			}
		}
		changes = append(changes, registry.Change{Key: next.Key(), Resource: next})
		return tx.Put(next)
	})
	if err != nil {
		return fmt.Errorf("bind task: %w", err)
	}
	b.table.wrote(changes, revision)
	if b.contested {
		b.table.contested.Add(1)
		return ErrContested
	}
	b.table.evicted.Add(uint64(len(b.victims)))
	return nil
}

// next is what the binding is to be, given what the store holds.
func (b *bind) next(tx registry.Tx) (*registry.Task, error) {
	next := &registry.Task{Name: b.name.String(), Server: b.server, Owner: b.owner.String(), ExpiresAt: b.expires}
	r, err := tx.Get(next.Key())
	if errors.Is(err, registry.ErrNotFound) {
		return next, nil
	}
	if err != nil {
		return nil, err
	}
	old, ok := r.(*registry.Task)
	if !ok {
		return nil, fmt.Errorf("%s: %w", next.Key(), registry.ErrCorrupt)
	}
	if old.ExpiresAt <= b.now {
		return next, nil
	}
	next.ExpiresAt = max(next.ExpiresAt, old.ExpiresAt)
	if old.Owner != next.Owner {
		next.Owner, b.contested = "", true
	}
	return next, nil
}

// evict deletes what has to make room.
func (b *bind) evict(tx registry.Tx) (changes []registry.Change, err error) {
	for _, v := range b.victims {
		key := registry.Key{Kind: registry.KindTask, Name: v.String()}
		if err := tx.Delete(key); err != nil && !errors.Is(err, registry.ErrNotFound) {
			return nil, err
		}
		changes = append(changes, registry.Change{Key: key})
	}
	return changes, nil
}
