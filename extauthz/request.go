package extauthz

import (
	"time"

	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
)

// Caller is whom a verified access token speaks for. It is immutable and may
// be shared between requests.
type Caller struct {
	// Issuer is the name of the registry's Issuer, not its URL.
	Issuer string
	// Subject and Client are the claims that Issuer.Claims point to; Client is
	// empty when the token has none.
	Subject, Client string
	// TokenID and SessionID are the claims that Issuer.Claims point to, `jti`
	// and `sid`; empty when the token has none.
	TokenID, SessionID string
	// Scopes and Groups are as they stand in the token, in its order.
	Scopes, Groups []string
	// IssuedAt is `iat`, the zero time when the token has none.
	IssuedAt time.Time
	// ExpiresAt is `exp`. The token is accepted for ClockLeeway longer.
	ExpiresAt time.Time
}

// ClockLeeway is what the clocks of an issuer and of the gateway may differ,
// each way.
const ClockLeeway = 30 * time.Second

// Request is one HTTP request to a server, read but not yet judged.
type Request struct {
	// Verb is POST, GET or DELETE.
	Verb string
	// At is when the request arrived: a Revocation that has ended by then does
	// not count. At the zero time every Revocation counts.
	At time.Time
	// Message is the body of a POST, nil otherwise.
	Message *rpcbody.Message
	// Mirrored are the headers that repeat parts of the body.
	Mirrored Mirrored
	// Resume is true for a GET whose stream may replay earlier replies.
	Resume bool
	// OwnsTask reports whether the task of that id was started by the caller on
	// the upstream that the request would reach. The caller owns none when it
	// is nil.
	OwnsTask func(id string) bool
}

// ownsTask is OwnsTask of what may be there.
func (r *Request) ownsTask(id string) bool { return id != "" && r.OwnsTask != nil && r.OwnsTask(id) }

// mayStartTask reports whether the server may answer the request with a task
// (MCP 2025-11-25, tasks, "Creating Tasks"; SEP-2663, "Capability
// Negotiation").
func (r *Request) mayStartTask(meth Method, v Versions) bool {
	m := r.Message
	return meth.StartsTask && (v&V20251125 != 0 && m.TaskRequested || v&Modern != 0 && m.TasksCapability)
}

// Mirrored are the headers of MCP 2026-07-28 that repeat parts of the body,
// as they arrived: each present at most once.
type Mirrored struct {
	Method, Name, Version rpcbody.Field
}
