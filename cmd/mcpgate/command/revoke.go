package command

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpgate/mcpgate/registry"
)

// revokeOptions are the flags of `revoke`.
type revokeOptions struct {
	*globals
	writeFlags
	revocation          registry.Revocation
	until, issuedBefore string
}

func newRevokeCommand(g *globals) *cobra.Command {
	o := &revokeOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "revoke",
		Short: "Take access tokens back; it is in force when the command returns.",
		Long: `Take access tokens back: all for which every flag of --subject, --client,
--token-id, --session and --issuer that is given holds. mcpgate get revocations
lists what is in force, mcpgate delete revocation NAME ends it.`,
		Example: `  mcpgate revoke --subject alice --issued-before now --reason "stolen laptop"
  mcpgate revoke --token-id onrtac:0d5a3bb6 --until 1h
  mcpgate revoke --issuer partner`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd, time.Now()) },
	}
	fs, r := cmd.Flags(), &o.revocation
	fs.StringVar(&r.Subject, "subject", "", "Subject (sub) of the tokens.")
	fs.StringVar(&r.Client, "client", "", "Client (client_id) of the tokens.")
	fs.StringVar(&r.TokenID, "token-id", "", "Id (jti) of one token.")
	fs.StringVar(&r.Session, "session", "", "Session (sid) of the tokens.")
	fs.StringVar(&r.Issuer, "issuer", "", "Name of the tokens' Issuer; alone it revokes all of it.")
	fs.StringVar(&o.issuedBefore, "issued-before", "", "Spare tokens issued at this time or later: a time such as 2026-11-25T12:00:00Z, or now.")
	fs.StringVar(&o.until, "until", "", "End of the revocation: a time such as 2026-11-25T12:00:00Z, or a duration such as 2h; default never.")
	fs.StringVar(&r.Reason, "reason", "", "Reason, for whoever reads the registry.")
	fs.StringVar(&r.Name, "name", "", "Name of the revocation (default made of what it revokes).")
	o.addTo(fs)
	return cmd
}

func (o *revokeOptions) run(cmd *cobra.Command, now time.Time) error {
	r := &o.revocation
	if r.Subject == "" && r.Client == "" && r.TokenID == "" && r.Session == "" && r.Issuer == "" {
		return usageError{withHint(errors.New("nobody to revoke"), "give one or more of --subject, --client, --token-id, --session and --issuer")}
	}
	var err error
	if r.IssuedBefore, err = parseWhen("issued-before", o.issuedBefore, now); err != nil {
		return err
	}
	if r.Until, err = parseWhen("until", o.until, now); err != nil {
		return err
	}
	if r.Name == "" {
		r.Name = revocationName(r)
	}
	client, err := o.client()
	if err != nil {
		return err
	}
	defer client.Close()
	opt := o.options()
	opt.Revision = nil
	answer, err := client.Put(cmd.Context(), r, opt)
	if err != nil {
		return err
	}
	return o.report(cmd, answer)
}

// parseWhen reads a time, "now", or a duration from now; the zero Time when s
// is empty.
func parseWhen(flag, s string, now time.Time) (registry.Time, error) {
	// Tokens tell their time in whole seconds: what was issued in this one is
	// not yet spared.
	now = now.UTC().Truncate(time.Second).Add(time.Second)
	switch s {
	case "":
		return registry.Time{}, nil
	case "now":
		return registry.Time{Time: now}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return registry.Time{Time: now.Add(d)}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return registry.Time{}, usageError{fmt.Errorf("--%s: %q is neither a time such as 2026-11-25T12:00:00Z nor a duration such as 2h", flag, s)}
	}
	return registry.Time{Time: t.UTC()}, nil
}

// revocationName is a name for whom r revokes, the same each time: to revoke
// again is to change what is there.
func revocationName(r *registry.Revocation) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q", r.Subject, r.Client, r.TokenID, r.Session, r.Issuer))
	return "r-" + hex.EncodeToString(sum[:6])
}
