// Package demo has what `mcpgate demo` and the examples run around a gateway:
// sample MCP servers made with the official Go SDK, and an issuer that signs
// tokens for whoever asks in the same process. None of it is for production.
package demo
