// Package conformance tests the gateway with other people's programs: the MCP
// conformance suite, whose verdicts through the gateway have to be those of
// the bare upstream, and clients that go through OAuth with a real
// authorization server. It has tests only.
//
// The programs are those of the Node packages that `make conformance` installs,
// and the conformance server of the Go SDK. A missing one is a failure.
package conformance
