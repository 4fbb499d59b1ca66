// Package rpcbody reads one MCP message (a JSON-RPC 2.0 object) from the raw
// bytes of a request body, strictly: a body that two JSON readers could read
// differently is refused. It reads in one pass, copies nothing of the
// arguments and imports the standard library only.
package rpcbody
