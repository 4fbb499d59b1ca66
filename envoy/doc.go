// Package envoy starts Envoy: it writes the bootstrap, finds the binary and
// refuses one that is too old, and supervises the process.
//
// The bootstrap holds only what never changes: the node, the admin endpoint,
// limits, and the clusters of the program itself. Everything else comes over
// xDS (packages xds and ads). The commands `up`, `demo` and `bootstrap` are
// its callers. Package envoytest runs a real Envoy in a test.
//
// A supervised Envoy never outlives its program: it ends with the context, on
// Linux with the thread that started it, and at the latest when the next
// Supervisor of the same directory starts.
package envoy
