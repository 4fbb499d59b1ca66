//go:build !linux

package boltstore_test

// platformChildren: the ways to make a disk fail are Linux's.
func platformChildren() map[string]func(string) error { return nil }
