// Package task binds tasks to the principals that started them, so that the id
// of a task that is stolen or guessed is worth nothing.
//
// An upstream names a task in the reply that creates it. Package listfilter
// sees that reply and calls Bind, which returns when the binding is durable in
// the registry; only then does the client get the reply. Package check asks
// Owns for each request that names a task, which is one look-up in memory.
//
//	reply ── listfilter ── Bind ──> registry.Store ── Apply ──> Table
//	request ── check ── Owns ───────────────────────────────────^
//
// Task ids stay as the upstream made them, in every message: they stand in
// bodies, which the gateway does not change, and in notifications of any
// stream. That is why there is a table here, where package session has none.
//
// A binding is a registry.Task: a hash of (server, generation of the upstream,
// task id) and one of (issuer, subject, client). Another upstream behind the
// same server name has other tasks. When an upstream gives one id to two
// principals, the task is nobody's from then on: whose data it holds cannot be
// known.
//
// The package owns how long bindings last and how many there are. It does not
// read messages (rpcbody, listfilter) and does not decide (extauthz).
package task
