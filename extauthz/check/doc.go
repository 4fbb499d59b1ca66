// Package check answers Envoy's envoy.service.auth.v3.Authorization/Check: it
// turns a CheckRequest into a Request and a Caller, asks extauthz.Decide, and
// turns the Decision into a CheckResponse.
//
//	CheckRequest ─ view ─ guard ─ verb ─ Origin ─ token ─ body ─ Decide ─ session ─ allow
//	                        └───────┴──────┴───────┴───────┴──────┴────────┴─ deny, fail
//
// Three constructors make every answer: allow, deny (the request is at fault)
// and fail (no decision was possible: 503). Whatever else happens, a panic or
// an empty answer, becomes a fail; Envoy takes an empty CheckResponse for an
// allow.
//
// Which server a request is for, and which generation of its upstream, comes
// from the metadata of the route that Envoy chose, never from the path. The
// answer carries both, and only the route that has the same leads to the
// upstream.
//
// CheckRequest and CheckResponse are read and written on the wire form itself:
// half of the cost of an ext_authz service in Go is proto.Unmarshal of a
// CheckRequest, of which this package needs a few fields. ServerOptions holds
// the codec; every other message of the same gRPC server takes the normal one.
//
// The package owns the shape of the answers and the audit records. It does not
// own a rule, a status code or a challenge (extauthz), and it reads neither
// token (token) nor body (rpcbody). The command serve makes a Server of it.
package check
