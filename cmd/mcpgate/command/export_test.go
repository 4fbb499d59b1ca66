package command

import "github.com/spf13/cobra"

// Root is the tree of commands.
func Root() *cobra.Command {
	root, _ := newRootCommand()
	return root
}
