package task

import (
	"context"
	"errors"
	"fmt"

	"github.com/mcpgate/mcpgate/registry"
)

// sweepBatch is how many bindings one transaction removes.
const sweepBatch = 1000

// Sweep removes the bindings that have had their time, from the registry and
// from memory. Several gateways on one store may do so at once.
func (t *Table) Sweep(ctx context.Context) error {
	for {
		names := t.expired(sweepBatch)
		if len(names) == 0 {
			return nil
		}
		now := t.config.Now().Unix()
		var changes []registry.Change
		revision, err := t.config.Store.Update(ctx, func(tx registry.Tx) error {
			changes = nil
			for _, name := range names {
				key := registry.Key{Kind: registry.KindTask, Name: name.String()}
				r, err := tx.Get(key)
				if errors.Is(err, registry.ErrNotFound) {
					continue
				}
				if err != nil {
					return err
				}
				if old, ok := r.(*registry.Task); ok && old.ExpiresAt > now {
					continue
				}
				if err := tx.Delete(key); err != nil {
					return err
				}
				changes = append(changes, registry.Change{Key: key})
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("remove expired tasks: %w", err)
		}
		t.wrote(changes, revision)
		t.forget(names, now)
	}
}

// forget removes from memory what has expired, whatever the registry says: it
// has no effect any more.
func (t *Table) forget(names []digest, now int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range names {
		if b, ok := t.bindings[name]; ok && b.expires <= now {
			t.remove(name)
		}
	}
}
