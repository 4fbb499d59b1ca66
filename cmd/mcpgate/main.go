// Command mcpgate publishes MCP servers through Envoy: it keeps the registry,
// pushes configuration over xDS and decides which token may call which tool.
package main

import (
	"context"
	"os"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/command"
)

func main() {
	os.Exit(command.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
