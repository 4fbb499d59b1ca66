// Package api is the administration API of a running gateway: HTTP and JSON
// under /api/v1 over a registry.Store, and the client that the commands use.
//
// It owns the paths, the bodies, the preconditions (ETag, If-Match) and the
// mapping from the registry's errors to statuses. It knows of Envoy and of the
// decision only through the functions of Backend, which package command fills
// in. Who may connect is the listener's matter: a Unix socket with mode 0600,
// or TLS with a token (Authenticate).
package api
