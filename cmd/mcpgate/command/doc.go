// Package command is the command line of mcpgate, one file a verb, and the
// assembly of the running program (gateway.go). It is the only package that
// sees all the others.
package command
