// Package rpcbody reads one MCP message (a JSON-RPC 2.0 object) from the raw
// bytes of a request body, strictly: a body that two JSON readers could read
// differently is refused, and so is one whose members are not of the form that
// the gateway judges. It reads in one pass, copies nothing of the arguments
// and imports the standard library only.
//
// It owns what can be said of a body without knowing a policy or a method: the
// grammar (RFC 8259, without its liberties), the member names, the kind of the
// message and the type and length of the members that name a target. The one
// exception is a tools/call without an id, which would run a tool without an
// answer. Which member is the target of which method, and whether it has to be
// there, belongs to package extauthz; the headers of the request to its caller,
// package check.
//
// Read is safe for concurrent use. Time is linear in the body, whatever is in
// it; memory is at most some fifteen times the body for a body made of member
// names alone, and none for an ordinary one.
package rpcbody
