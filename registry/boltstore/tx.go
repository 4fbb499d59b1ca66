package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/mcpgate/mcpgate/registry"
)

// errTxDone is what a transaction answers after its function has returned.
var errTxDone = errors.New("transaction has ended")

// overlay is the registry.Tx of one Update: what it wrote lies over the bbolt
// transaction, into which nothing goes before the function has succeeded.
type overlay struct {
	tx *bbolt.Tx
	// written has nil for what was deleted.
	written map[registry.Key]registry.Resource
	// referrers indexes the references of what was put, by target.
	referrers map[registry.Key]map[registry.Key]struct{}
	// base remembers what was read below the overlay; nil for what is not
	// there.
	base map[registry.Key]registry.Resource
	done bool
	// broken is the first error of the store. The Update fails with it even if
	// the function did not mind.
	broken error
}

func newOverlay(tx *bbolt.Tx) *overlay {
	return &overlay{
		tx:        tx,
		written:   make(map[registry.Key]registry.Resource),
		referrers: make(map[registry.Key]map[registry.Key]struct{}),
		base:      make(map[registry.Key]registry.Resource),
	}
}

// Get implements registry.Tx.
func (o *overlay) Get(key registry.Key) (registry.Resource, error) {
	if o.done {
		return nil, errTxDone
	}
	r, ok := o.written[key]
	if !ok {
		var err error
		if r, err = o.below(key); err != nil {
			return nil, err
		}
	}
	if r == nil {
		return nil, fmt.Errorf("%s: %w", key, registry.ErrNotFound)
	}
	return r, nil
}

// below is the resource under the overlay, nil when there is none.
func (o *overlay) below(key registry.Key) (registry.Resource, error) {
	if r, ok := o.base[key]; ok {
		return r, nil
	}
	r, err := get(o.tx, key)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return nil, o.fail(err)
	}
	o.base[key] = r
	return r, nil
}

func (o *overlay) fail(err error) error {
	if o.broken == nil {
		o.broken = err
	}
	return err
}

// List implements registry.Tx.
func (o *overlay) List(kind registry.Kind) ([]registry.Key, error) {
	if o.done {
		return nil, errTxDone
	}
	keys, err := o.scan(bucketResources(), resourceKey(registry.Key{Kind: kind}), 0)
	if err != nil {
		return nil, err
	}
	for key, r := range o.written {
		if key.Kind == kind && r != nil {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, registry.Key.Compare)
	return keys, nil
}

// Referrers implements registry.Tx.
func (o *overlay) Referrers(key registry.Key) ([]registry.Key, error) {
	if o.done {
		return nil, errTxDone
	}
	if err := registry.CheckKey(key); err != nil {
		return nil, nil //nolint:nilerr // nothing that was put can refer to it
	}
	prefix := referencesPrefix(key)
	keys, err := o.scan(bucketReferences(), prefix, len(prefix))
	if err != nil {
		return nil, err
	}
	for referrer := range o.referrers[key] {
		keys = append(keys, referrer)
	}
	slices.SortFunc(keys, registry.Key.Compare)
	return keys, nil
}

// scan returns the resource keys that end, after skip bytes, the keys of the
// bucket with the given prefix, without those that the overlay hides.
func (o *overlay) scan(bucket, prefix []byte, skip int) ([]registry.Key, error) {
	var keys []registry.Key
	c := o.tx.Bucket(bucket).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		key, err := parseResourceKey(k[skip:])
		if err != nil {
			return nil, o.fail(err)
		}
		if _, hidden := o.written[key]; !hidden {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// Put implements registry.Tx.
func (o *overlay) Put(r registry.Resource) error {
	if o.done {
		return errTxDone
	}
	if err := registry.Storable(r); err != nil {
		return err
	}
	o.write(r.Key(), r.Clone())
	return nil
}

// Delete implements registry.Tx.
func (o *overlay) Delete(key registry.Key) error {
	if _, err := o.Get(key); err != nil {
		return err
	}
	o.write(key, nil)
	return nil
}

func (o *overlay) write(key registry.Key, r registry.Resource) {
	if old := o.written[key]; old != nil {
		for _, target := range old.References() {
			delete(o.referrers[target], key)
		}
	}
	o.written[key] = r
	if r == nil {
		return
	}
	for _, target := range r.References() {
		if o.referrers[target] == nil {
			o.referrers[target] = make(map[registry.Key]struct{})
		}
		o.referrers[target][key] = struct{}{}
	}
}
