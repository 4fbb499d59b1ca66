package registry

import "context"

// Store keeps the registry. It is safe for concurrent use; the suite in
// registrytest defines it in full.
//
// Every committed Update that changes something gets the next revision, a
// store-wide counter that starts at 1 and is never used twice, across restarts
// too. Resources are immutable once stored or returned.
type Store interface {
	// Get returns one resource, or ErrNotFound.
	Get(ctx context.Context, key Key) (Resource, error)

	// List returns the resources of a kind in the byte order of their names.
	List(ctx context.Context, kind Kind, opt ListOptions) (Page, error)

	// Snapshot returns all resources of all kinds, internal ones included, at
	// one revision.
	Snapshot(ctx context.Context) (Snapshot, error)

	// Update runs fn in a transaction and commits what it put and deleted,
	// all or nothing, unless fn returns an error, which Update then returns as
	// it is. It returns after the commit is durable, with its revision; a
	// transaction that changed nothing commits nothing and returns the current
	// revision. fn may be run more than once and must have no other effect;
	// Update does not return while it runs, and a panic in it is an error. When
	// ctx ends before fn has begun, Update returns its error; what has begun is
	// finished. What counts is the net effect: a Put and a Delete of the same key
	// are no change.
	Update(ctx context.Context, fn func(Tx) error) (revision int64, err error)

	// Watch delivers every commit after the given revision, in order, each
	// once. Events is closed when ctx ends, when the store is closed, or when
	// the watcher fell too far behind; Err then says why. Watch returns
	// ErrCompacted when the changes since revision are no longer kept.
	Watch(ctx context.Context, revision int64) (Watcher, error)

	// Close releases the store; open Watchers end with ErrClosed.
	Close() error
}

// Watcher is one running Watch.
type Watcher interface {
	Events() <-chan Event
	// Err is the reason for which Events was closed.
	Err() error
}

// Tx is the view of one transaction. It sees its own writes.
type Tx interface {
	// Get returns one resource, or ErrNotFound.
	Get(key Key) (Resource, error)
	// List returns the keys of a kind in the byte order of their names. Its
	// cost grows with their number: only a prune needs it.
	List(kind Kind) ([]Key, error)
	// Referrers returns the keys of the resources whose References contain
	// key. Its cost grows with their number, not with the registry.
	Referrers(key Key) ([]Key, error)
	// Put stores a copy of r, or returns ErrInvalid when Storable refuses
	// it; the rest is the caller's matter (see Apply). At commit the store sets its Metadata: Revision,
	// UpdatedAt, CreatedAt (kept from the resource it replaces), and a Server's
	// Generation (kept while SameUpstream holds). A Put equal to what is stored
	// but for Metadata is no change.
	Put(r Resource) error
	// Delete removes a resource, or returns ErrNotFound.
	Delete(key Key) error
}

// ListOptions selects a page.
type ListOptions struct {
	// After is the name after which the page begins.
	After string
	// Limit is the largest number of resources returned; 0 means all.
	Limit int
}

// Page is a part of a List.
type Page struct {
	Resources []Resource
	// Next is the After of the next page, empty on the last one.
	Next string
	// Revision of the store when the page was read.
	Revision int64
}

// Snapshot is the whole registry at one revision.
type Snapshot struct {
	Revision  int64
	Resources []Resource
}

// Event is one committed transaction.
type Event struct {
	Revision int64
	// Changes are sorted by key.
	Changes []Change
}

// Change is what a transaction did to one resource.
type Change struct {
	Key Key
	// Resource is nil when the resource was deleted.
	Resource Resource
}
