package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/registry/api"
)

type explainOptions struct {
	*globals
	req       api.ExplainRequest
	scopes    string
	tokenFile string
	output    string
}

func newExplainCommand(g *globals) *cobra.Command {
	o := &explainOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "explain --server S --method M [--target T] (--token-file F | --scopes \"a b\" --groups g,h)",
		Short: "Tell how a request would be decided, by which rule, and what would change it.",
		Example: `  mcpgate explain --server weather --method tools/call --target set_alert --scopes "weather:read"
  mcpgate explain --server weather --method tools/list --token-file token.txt`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	fs := cmd.Flags()
	fs.StringVar(&o.req.Server, "server", "", "Server that is asked.")
	fs.StringVar(&o.req.Method, "method", "", "MCP method, or GET or DELETE.")
	fs.StringVar(&o.req.Target, "target", "", "Tool, prompt or URI that the method uses.")
	fs.StringVar(&o.tokenFile, "token-file", "", "File with the access token of the caller, or - for standard input.")
	fs.StringVar(&o.scopes, "scopes", "", "Scopes of an imagined caller, separated by spaces.")
	fs.StringSliceVar(&o.req.Groups, "groups", nil, "Groups of an imagined caller.")
	fs.StringVar(&o.req.Issuer, "issuer", "", "Issuer of an imagined caller; default any.")
	fs.StringVarP(&o.output, "output", "o", "text", "Form of the output: text or json.")
	for _, name := range []string{"server", "method"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is defined above
		}
	}
	cmd.MarkFlagsMutuallyExclusive("token-file", "scopes")
	cmd.MarkFlagsMutuallyExclusive("token-file", "groups")
	return cmd
}

func (o *explainOptions) run(cmd *cobra.Command) error {
	if err := checkForm(o.output, "text", "json"); err != nil {
		return err
	}
	o.req.Scopes = strings.Fields(o.scopes)
	if o.tokenFile != "" {
		token, err := readToken(cmd.InOrStdin(), o.tokenFile)
		if err != nil {
			return err
		}
		o.req.Token = token
	}
	client, err := o.client()
	if err != nil {
		return err
	}
	defer client.Close()
	answer, err := client.Explain(cmd.Context(), o.req)
	if err != nil {
		return err
	}
	if o.output == "json" {
		return printIndented(cmd.OutOrStdout(), answer)
	}
	var e extauthz.Explanation
	if err := json.Unmarshal(answer, &e); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return printExplanation(cmd.OutOrStdout(), e)
}

// readToken reads a token from a file: never from an argument, which other
// users of the machine can see.
func readToken(stdin io.Reader, file string) (string, error) {
	var data []byte
	var err error
	if file == "-" {
		data, err = io.ReadAll(io.LimitReader(stdin, 1<<20))
	} else {
		data, err = os.ReadFile(file) //nolint:gosec // the user names the file
	}
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", errors.New("the token file is empty")
	}
	return token, nil
}

func printExplanation(w io.Writer, e extauthz.Explanation) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s %s\n", name+":", fmt.Sprintf(format, args...))
	}
	if e.Allow {
		line("decision", "allow")
	} else {
		line("decision", "deny, status %d", e.Status)
	}
	line("rule", "%s", e.Rule)
	if e.Reason != "" {
		line("reason", "%s", e.Reason)
	}
	if g := e.Granted; g != nil {
		line("granted by", "scope %s, rules[%d]%s, from %s", g.Scope, g.Rule, patternText(g.Pattern), g.Via)
	}
	if len(e.Needs) > 0 {
		line("would help", "%s", strings.Join(e.Needs, " "))
	}
	if len(e.Alternatives) > 1 {
		line("each of", "%s", strings.Join(e.Alternatives, ", "))
	}
	if len(e.Scopes) > 0 {
		line("has", "%s", strings.Join(e.Scopes, " "))
	}
	if e.Challenge != "" {
		line("challenge", "%s", e.Challenge)
	}
	line("revision", "%d", e.Revision)
	_, err := io.WriteString(w, b.String())
	return err
}

func patternText(pattern string) string {
	if pattern == "" {
		return ""
	}
	return fmt.Sprintf(", pattern %q", pattern)
}
