package command

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/manifest"
)

type getOptions struct {
	*globals
	output string
}

func newGetCommand(g *globals) *cobra.Command {
	o := &getOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "get KIND [NAME]",
		Short: "Show resources of a kind: servers, issuers, scopes, groups, revocations.",
		Example: `  mcpgate get servers
  mcpgate get scope weather:read -o yaml`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "table", "Form of the output: table, yaml, json or name.")
	return cmd
}

func (o *getOptions) run(cmd *cobra.Command, args []string) error {
	kind, err := parseKind(args[0])
	if err != nil {
		return err
	}
	if err := checkForm(o.output, "table", "yaml", "json", "name"); err != nil {
		return err
	}
	client, err := o.client()
	if err != nil {
		return err
	}
	defer client.Close()
	var resources []registry.Resource
	if len(args) == 2 {
		res, err := client.Get(cmd.Context(), registry.Key{Kind: kind, Name: args[1]})
		if err != nil {
			return err
		}
		resources = []registry.Resource{res}
	} else if resources, err = client.List(cmd.Context(), kind); err != nil {
		return err
	}
	return printResources(cmd.OutOrStdout(), o.output, kind, resources, len(args) == 2)
}

func parseKind(s string) (registry.Kind, error) {
	kind, ok := registry.ParseKind(s)
	if !ok {
		return "", usageError{withHint(fmt.Errorf("no kind %q", s), "the kinds are server, issuer, scope, group and revocation")}
	}
	return kind, nil
}

// printResources writes resources in the form of -o; single says that one was
// asked for by name.
func printResources(w io.Writer, form string, kind registry.Kind, resources []registry.Resource, single bool) error {
	switch form {
	case "name":
		for _, r := range resources {
			if _, err := fmt.Fprintln(w, r.Key()); err != nil {
				return err
			}
		}
		return nil
	case "yaml":
		b, err := manifest.Marshal(resources, true)
		if err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	case "json":
		return printJSON(w, resources, single)
	}
	return printTable(w, kind, resources)
}

func printJSON(w io.Writer, resources []registry.Resource, single bool) error {
	items := make([]json.RawMessage, 0, len(resources))
	for _, r := range resources {
		b, err := registry.Encode(r)
		if err != nil {
			return err
		}
		items = append(items, b)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if single {
		return enc.Encode(items[0])
	}
	return enc.Encode(items)
}

func printTable(w io.Writer, kind registry.Kind, resources []registry.Resource) error {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	header := map[registry.Kind]string{
		registry.KindServer: "NAME\tURL\tENABLED\tREVISION",
		registry.KindIssuer: "NAME\tISSUER\tREVISION",
		registry.KindScope:  "NAME\tSERVERS\tINCLUDES\tREVISION",
		registry.KindGroup:  "NAME\tISSUER\tSCOPES\tREVISION",

		registry.KindRevocation: "NAME\tREVOKES\tISSUED BEFORE\tUNTIL\tREVISION",
	}[kind]
	// A tabwriter keeps its first error for Flush.
	_, _ = fmt.Fprintln(tw, header)
	for _, r := range resources {
		_, _ = fmt.Fprintf(tw, "%s\t%d\n", strings.Join(columns(r), "\t"), r.Meta().Revision)
	}
	return tw.Flush()
}

func columns(r registry.Resource) []string {
	switch r := r.(type) {
	case *registry.Server:
		return []string{r.Name, r.Upstream.URL, fmt.Sprint(r.IsEnabled())}
	case *registry.Issuer:
		return []string{r.Name, r.Issuer}
	case *registry.Scope:
		var servers []string
		for _, rule := range r.Rules {
			servers = append(servers, rule.Servers...)
		}
		return []string{r.Name, orDash(servers), orDash(r.Includes)}
	case *registry.Group:
		issuer := r.Issuer
		if issuer == "" {
			issuer = "*"
		}
		return []string{r.Name, issuer, orDash(r.Scopes)}
	case *registry.Revocation:
		return []string{r.Name, revoked(r), orNever(r.IssuedBefore), orNever(r.Until)}
	}
	return []string{r.Key().Name}
}

// revoked says whose tokens a revocation takes back: "subject=alice,issuer=corp".
func revoked(r *registry.Revocation) string {
	var parts []string
	for _, f := range []struct{ name, value string }{
		{"subject", r.Subject}, {"client", r.Client}, {"tokenID", r.TokenID}, {"session", r.Session}, {"issuer", r.Issuer},
	} {
		if f.value != "" {
			parts = append(parts, f.name+"="+f.value)
		}
	}
	return strings.Join(parts, ",")
}

func orNever(t registry.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func orDash(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ",")
}
