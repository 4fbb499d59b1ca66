package command

import (
	"fmt"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/config"
)

func newConfigCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show and check the configuration file.",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:     "show",
			Short:   "Print the effective configuration, defaults filled in.",
			Example: "  mcpgate config show --config mcpgate.yaml",
			Args:    cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				c, err := g.config()
				if err != nil {
					return err
				}
				b, err := yaml.Marshal(c)
				if err != nil {
					return fmt.Errorf("encode configuration: %w", err)
				}
				_, err = cmd.OutOrStdout().Write(b)
				return err
			},
		},
		&cobra.Command{
			Use:     "check FILE",
			Short:   "Check a configuration file and report every problem.",
			Example: "  mcpgate config check mcpgate.yaml",
			Args:    cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				if _, err := config.Load(args[0]); err != nil {
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is valid\n", args[0])
				return err
			},
		},
	)
	return cmd
}
