package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func newStatusCommand(g *globals) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the Envoys, what each has accepted, what was refused, and the issuers' keys.",
		Example: `  mcpgate status
  mcpgate status -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkForm(output, "table", "json"); err != nil {
				return err
			}
			client, err := g.client()
			if err != nil {
				return err
			}
			defer client.Close()
			answer, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			if output == "json" {
				return printIndented(cmd.OutOrStdout(), answer)
			}
			var s status
			if err := json.Unmarshal(answer, &s); err != nil {
				return fmt.Errorf("read answer: %w", err)
			}
			return s.print(cmd.OutOrStdout(), time.Now())
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "Form of the output: table or json.")
	return cmd
}

func (s status) print(w io.Writer, now time.Time) error {
	// A tabwriter keeps its first error for Flush.
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(tw, format+"\n", args...) }
	p("mcpgate %s at %s, registry revision %d", s.Version, s.URL, s.Revision)
	p("")
	p("ENVOY\tVERSION\tADDRESS\tCONNECTED\tREVISION")
	for _, e := range s.Envoys {
		p("%s\t%s\t%s\t%s\t%d", e.Node, e.Version, e.Address, now.Sub(e.Connected).Round(time.Second), e.Revision)
	}
	if len(s.Envoys) == 0 {
		p("none")
	}
	p("")
	p("ISSUER\tURL\tUSABLE\tKEYS\tAGE\tLAST ERROR")
	for _, i := range s.Issuers {
		age := time.Duration(i.KeyAgeSeconds * float64(time.Second)).Round(time.Second)
		keys, keyAge := strconv.Itoa(i.Keys), age.String()
		if i.Introspection != "" {
			keys, keyAge = "asked", "-"
		}
		p("%s\t%s\t%t\t%s\t%s\t%s", i.Name, i.URL, i.Usable, keys, keyAge, i.LastError)
	}
	if len(s.Rejections) > 0 {
		p("")
		p("REFUSED\tNAME\tREVISION\tENVOY\tMESSAGE")
		for _, r := range s.Rejections {
			p("%s\t%s\t%d\t%s\t%s", r.Type, r.Name, r.Revision, r.Node, r.Message)
		}
	}
	return tw.Flush()
}

func printIndented(w io.Writer, raw json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	b.WriteByte('\n')
	_, err := b.WriteTo(w)
	return err
}
