package command

import (
	"github.com/spf13/cobra"

	"github.com/mcpgate/mcpgate/registry"
)

type deleteOptions struct {
	*globals
	writeFlags
}

func newDeleteCommand(g *globals) *cobra.Command {
	o := &deleteOptions{globals: g}
	cmd := &cobra.Command{
		Use:     "delete KIND NAME...",
		Short:   "Delete resources of a kind.",
		Example: "  mcpgate delete server weather",
		Args:    cobra.MinimumNArgs(2),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.addTo(cmd.Flags())
	o.addRevisionTo(cmd.Flags())
	return cmd
}

func (o *deleteOptions) run(cmd *cobra.Command, args []string) error {
	kind, err := parseKind(args[0])
	if err != nil {
		return err
	}
	client, err := o.client()
	if err != nil {
		return err
	}
	defer client.Close()
	for _, name := range args[1:] {
		answer, err := client.Delete(cmd.Context(), registry.Key{Kind: kind, Name: name}, o.options())
		if err != nil {
			return err
		}
		if err := o.report(cmd, answer); err != nil {
			return err
		}
	}
	return nil
}
