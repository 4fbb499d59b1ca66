// Package registrytest defines what a registry.Store must do, as a test suite
// that every store runs: Run. It also has Memory, a store for tests of other
// packages, which passes the suite.
package registrytest
