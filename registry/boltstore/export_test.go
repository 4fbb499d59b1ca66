package boltstore

import "os"

// NoSync leaves out the syncs, for tests that are not about them.
func NoSync(o Options) Options {
	o.noSync = true
	return o
}

// File is the file below the store, for tests that break it.
func (s *Store) File() *os.File { return s.file }
