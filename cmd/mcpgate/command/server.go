package command

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/api"
)

// serverOptions are the flags of `server add`.
type serverOptions struct {
	*globals
	writeFlags
	title, description string
	tags, issuers      []string
	caFile             string
	credential         string
}

func newServerCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Add, enable and disable servers.",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(newServerAddCommand(g), newServerSwitchCommand(g, "enable", true), newServerSwitchCommand(g, "disable", false))
	return cmd
}

func newServerAddCommand(g *globals) *cobra.Command {
	o := &serverOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "add NAME URL",
		Short: "Add a server; it answers when the command returns.",
		Example: `  mcpgate server add weather https://weather.internal:8443/mcp
  mcpgate server add search https://search.internal/mcp --credential env:SEARCH_TOKEN`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return o.add(cmd, args[0], args[1]) },
	}
	fs := cmd.Flags()
	fs.StringVar(&o.title, "title", "", "Title shown to users.")
	fs.StringVar(&o.description, "description", "", "Description shown to users.")
	fs.StringSliceVar(&o.tags, "tag", nil, "Tag; may be repeated.")
	fs.StringSliceVar(&o.issuers, "issuer", nil, "Issuer whose tokens are accepted; may be repeated; default every one.")
	fs.StringVar(&o.caFile, "ca-file", "", "File of the certificate authorities that the upstream's certificate is checked against.")
	fs.StringVar(&o.credential, "credential", "", "Secret that the upstream gets as a bearer token: env:NAME or file:/path.")
	o.addTo(fs)
	return cmd
}

func (o *serverOptions) add(cmd *cobra.Command, name, url string) error {
	s := &registry.Server{
		Name: name, Title: o.title, Description: o.description, Tags: o.tags,
		Upstream: registry.Upstream{URL: url},
		Access:   registry.Access{Issuers: o.issuers},
	}
	if o.caFile != "" {
		s.Upstream.TLS = &registry.TLS{CAFile: o.caFile}
	}
	if o.credential != "" {
		s.Upstream.Credential = &registry.Credential{Scheme: "Bearer", Secret: registry.SecretRef(o.credential)}
	}
	client, err := o.client()
	if err != nil {
		return err
	}
	defer client.Close()
	opt := o.options()
	opt.Revision = new(int64)
	answer, err := client.Put(cmd.Context(), s, opt)
	if errors.Is(err, registry.ErrConflict) {
		return withHint(err, "the server is there already; change it with mcpgate apply")
	}
	if err != nil {
		return err
	}
	return o.report(cmd, answer)
}

func newServerSwitchCommand(g *globals, verb string, enabled bool) *cobra.Command {
	o := &serverOptions{globals: g}
	short := "Enable a disabled server."
	if !enabled {
		short = "Disable a server: it answers as an unknown one, and keeps its place in the registry."
	}
	cmd := &cobra.Command{
		Use:     verb + " NAME",
		Short:   short,
		Example: "  mcpgate server " + verb + " weather",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.set(cmd, args[0], enabled) },
	}
	o.addTo(cmd.Flags())
	return cmd
}

func (o *serverOptions) set(cmd *cobra.Command, name string, enabled bool) error {
	client, err := o.client()
	if err != nil {
		return err
	}
	defer client.Close()
	answer, err := setEnabled(cmd.Context(), client, name, enabled, o.options())
	if err != nil {
		return err
	}
	return o.report(cmd, answer)
}

// setEnabled changes one field of a server and nothing that somebody else
// changes at the same time.
func setEnabled(ctx context.Context, client *api.Client, name string, enabled bool, opt api.WriteOptions) (api.WriteAnswer, error) {
	for {
		res, err := client.Get(ctx, registry.Key{Kind: registry.KindServer, Name: name})
		if err != nil {
			return api.WriteAnswer{}, err
		}
		s, ok := res.(*registry.Server)
		if !ok {
			return api.WriteAnswer{}, errors.New("the gateway answered with something that is not a server")
		}
		revision := s.Metadata.Revision
		s.Enabled = &enabled
		opt.Revision = &revision
		answer, err := client.Put(ctx, s, opt)
		if !errors.Is(err, registry.ErrConflict) {
			return answer, err
		}
	}
}
