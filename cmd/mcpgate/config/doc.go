// Package config is the configuration of the process, mcpgate.yaml: its
// fields, defaults, strict reading and validation. It knows nothing of what
// the fields do; package command passes them on.
package config
