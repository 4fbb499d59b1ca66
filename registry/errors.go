package registry

import "errors"

// Errors that every Store and Apply report, to be compared with errors.Is.
var (
	// ErrNotFound: the resource does not exist (any more).
	ErrNotFound = errors.New("not found")
	// ErrConflict: a conditional write whose revision has moved, or a create of
	// something that exists.
	ErrConflict = errors.New("conflict")
	// ErrInvalid: the write makes no sense; the error is an *InvalidError.
	ErrInvalid = errors.New("invalid")
	// ErrCompacted: Watch asked for a revision whose changes are no longer
	// kept. Take a Snapshot and watch from its revision.
	ErrCompacted = errors.New("compacted")
	// ErrClosed: the store has been closed.
	ErrClosed = errors.New("store closed")
	// ErrCorrupt: the file or a record in it cannot be read. Nothing of it is
	// ever taken for an empty registry.
	ErrCorrupt = errors.New("corrupt")
	// ErrFormat: the file was written by another, unknown version.
	ErrFormat = errors.New("unknown format")
	// ErrLocked: another process holds the file.
	ErrLocked = errors.New("held by another process")
)
