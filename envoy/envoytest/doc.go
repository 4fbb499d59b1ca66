// Package envoytest runs a real Envoy for a test: one process each, in its own
// directory, on ports that no other test of this machine has. Its log is shown
// only when the test fails. A missing Envoy fails the test; nothing is skipped.
//
// It knows bootstraps, not the gateway: what Envoy serves is the caller's.
package envoytest
