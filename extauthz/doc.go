// Package extauthz decides whether a caller may send an MCP message to a
// server: Decide is a pure function of the compiled policy, the request and
// the caller. It owns the table of MCP methods, the table of rules and their
// answers, and the compilation of the registry into policies. It has no I/O,
// no clock and no logger.
//
// The packages below it do the work around the decision: rpcbody reads the
// message, token verifies the caller, check speaks ext_authz, listfilter and
// session treat the reply.
package extauthz
