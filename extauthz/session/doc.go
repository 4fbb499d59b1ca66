// Package session binds the session ids of upstreams to the principal and the
// server they were given to, so that an id that is stolen, guessed or carried
// to another server is worth nothing. There is no table of sessions: a bound
// id carries the upstream's id and a MAC, and any replica that has the key can
// check it.
//
//	v1.<key id>.<base64url(upstream id)>.<base64url(MAC)>
//	MAC = HMAC-SHA256(key, fields)[:16]
//	fields = version, issuer, subject, client, server, upstream id, each
//	         after its length in 8 bytes, most significant first
//
// The upstream's id is not secret from its owner and is only encoded.
//
// Package listfilter wraps the id in the reply to initialize, package check
// unwraps it in requests. The keys are resources of the registry; this package
// keeps none and makes none.
package session
