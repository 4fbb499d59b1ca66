package command

import "github.com/spf13/cobra"

func newExportCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "export",
		Short:   "Print the whole registry as documents that apply reads.",
		Example: "  mcpgate export > registry.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.print(cmd, "export")
		},
	}
}

// print copies what a path of the API answers to standard output.
func (g *globals) print(cmd *cobra.Command, path string) error {
	client, err := g.client()
	if err != nil {
		return err
	}
	defer client.Close()
	b, err := client.Text(cmd.Context(), path)
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(b)
	return err
}
