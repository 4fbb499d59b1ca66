package extauthz

import "github.com/mcpgate/mcpgate/extauthz/rpcbody"

// Rule is the stable id of a rule that decides about requests. Every refusal
// of the gateway has one; it stands in the audit line, in SECURITY.md and in
// the name of a test. What a rule answers is in its Answer.
type Rule string

// Answer is how a refusal looks on the public listener.
type Answer struct {
	// Status is the HTTP status.
	Status int
	// Code is the JSON-RPC error code.
	Code int
	// Message is the JSON-RPC error message: fixed text, nothing internal.
	Message string
	// OAuthError is `error` of the WWW-Authenticate challenge; Challenge says
	// whether there is one at all.
	OAuthError string
	Challenge  bool
}

var _ = rpcbody.Request
