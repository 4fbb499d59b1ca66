package command

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

func newXDSCommand(g *globals) *cobra.Command {
	var output string
	dump := &cobra.Command{
		Use:     "dump",
		Short:   "Print the configuration that Envoys get, secrets left out.",
		Example: "  mcpgate xds dump -o yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkForm(output, "yaml", "json"); err != nil {
				return err
			}
			if output == "json" {
				return g.printAsJSON(cmd, "xds")
			}
			return g.print(cmd, "xds")
		},
	}
	dump.Flags().StringVarP(&output, "output", "o", "yaml", "Form of the output: yaml or json.")
	cmd := &cobra.Command{
		Use:   "xds",
		Short: "Look at what is sent to Envoys.",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(dump)
	return cmd
}

// printAsJSON prints what a path of the API answers in YAML as JSON.
func (g *globals) printAsJSON(cmd *cobra.Command, path string) error {
	client, err := g.client()
	if err != nil {
		return err
	}
	defer client.Close()
	text, err := client.Text(cmd.Context(), path)
	if err != nil {
		return err
	}
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
