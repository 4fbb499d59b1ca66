// Package listfilter treats the reply side of the requests whose reply depends
// on the caller: it is the ext_proc server (envoy.service.ext_proc.v3) of the
// inspect route. A list reply shows only what the caller may use, the session
// id of an initialize reply is bound to its owner, a task that a reply starts
// is bound to its owner before the client hears of it, and a replay after
// Last-Event-ID is filtered by shape.
//
// It owns the reading of replies (JSON and Server-Sent Events), the cutting of
// list items out of the raw bytes, and the FULL_DUPLEX_STREAMED protocol with
// Envoy. It does not decide what is visible (package extauthz does, from the
// same compiled policy that decides tools/call) and does not know how a
// session id or a task is bound (packages session and task). The gateway
// registers it on the socket that serves ext_authz.
//
// What happens to one reply:
//
//	response_headers ─┬─ no or bad decision ──────────> ImmediateResponse 500
//	                  ├─ session ── wrap id ──────────> headers · body relayed
//	                  ├─ 202, 204 ────────────────────> headers · body dropped
//	                  ├─ JSON ───── held, filtered ───> headers · body
//	                  │               └─ any doubt ───> ImmediateResponse 502
//	                  ├─ SSE ───── headers at once ───> finished events
//	                  │               └─ any doubt ───> the stream is cut
//	                  ├─ status ≥ 400, other type ────> headers · JSON-RPC error
//	                  └─ anything else ───────────────> ImmediateResponse 502
//
// Bytes that stay are never encoded again. A reply that cannot be read whole
// within the limits is refused, never passed.
package listfilter
