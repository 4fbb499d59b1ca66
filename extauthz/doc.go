// Package extauthz decides whether a caller may send an MCP message to a
// server: Decide is a pure function of the compiled policy, the request and
// the caller. It owns the table of MCP methods (methods.go), the rules and the
// table of their answers (rules.go, answer.go), and the compilation of the
// registry into policies (compile.go). It has no I/O, no clock and no logger.
//
//	registry ── Load, Apply ──> Policies ── Server ──> ServerPolicy
//	                                                        │
//	                       Request, Caller ── Decide ───────┴──> Decision
//
// Policies are one immutable view behind an atomic pointer. A change makes a
// new view that shares with the old one all it does not touch, so it costs what
// it touches, and a reader, who takes no lock, sees one revision in full.
//
// The packages below it do the work around the decision: rpcbody reads the
// message, token verifies the caller, check speaks ext_authz, listfilter and
// session treat the reply, prm serves the resource metadata.
package extauthz
