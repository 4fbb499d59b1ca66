// Package boltstore keeps the registry in one bbolt file: the registry.Store
// of one machine.
//
// # Writes
//
// One goroutine writes. It takes every Update that waits, runs each on an
// overlay of its own, and commits what they changed in one bbolt transaction:
// concurrent writers share the two fdatasync of a commit, a lone writer waits
// for nobody, and a function that fails leaves no trace and no failed
// neighbours. Every Update that changed something gets its own revision and its
// own Event. An Update returns after the commit is durable.
//
// When a commit fails for want of space, the file is known to be as before:
// the Updates in it fail, and later ones may succeed. After any other failure
// of a write or a sync nobody knows what the disk holds, and trying again may
// report success for data that is lost; the store then refuses every write
// with ErrStopped until it is opened anew, and goes on reading.
//
// # File
//
//	meta        format, revision, and the revision up to which history is gone
//	resources   kind, name         → registry.Encode of the resource
//	references  target, referrer   → nothing; the index behind Tx.Referrers
//	changes     revision           → what that Update put and deleted
//
// Every value begins with a CRC-32C of its key and itself. Opening walks all
// pages and checks all of these before anything is believed: a file that was
// truncated, zeroed or altered is an error, never a smaller registry.
//
// It does not validate resources; registry.Apply does. Only this package may
// import bbolt.
package boltstore
