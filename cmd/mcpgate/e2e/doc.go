// Package e2e tests the whole program as a user runs it: the commands of
// mcpgate, a real Envoy, a real registry file, the official MCP SDK. It has
// tests only; harness_test.go starts the gateway.
package e2e
