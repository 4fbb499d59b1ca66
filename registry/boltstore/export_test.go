package boltstore

import "os"

// NoSync leaves out the syncs, for tests that are not about them.
func NoSync(o Options) Options {
	o.noSync = true
	return o
}

// File is the file below the store, for tests that break it.
func (s *Store) File() *os.File { return s.file }

// Seal is the stored form of a value.
func Seal(key, value []byte) []byte { return seal(key, value) }

// Closing is closed when Close has begun.
func (s *Store) Closing() <-chan struct{} { return s.closing }
