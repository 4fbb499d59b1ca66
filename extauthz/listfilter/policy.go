package listfilter

import (
	"time"

	"github.com/mcpgate/mcpgate/extauthz"
)

// policies finds the policy of a server; false if it is unknown or disabled.
type policies interface {
	policy(server string) (policy, bool)
	// revoked says whether a Revocation has taken back the token of the caller,
	// and gives a channel that is closed when that is to be asked again.
	revoked(caller *extauthz.Caller) (revoked bool, changed <-chan struct{})
}

// policy is what this package asks of a server's compiled policy.
type policy interface {
	// upstream says whether the client's token is passed to the upstream of
	// that generation, and false if the generation is not kept any more.
	upstream(generation int64) (forwarded, ok bool)
	// visible says what a caller with these scopes sees of a list.
	visible(scopes string, l list) filter
}

// compiled is policies by package extauthz.
type compiled struct{ policies *extauthz.Policies }

func (c compiled) policy(server string) (policy, bool) {
	p, ok := c.policies.Server(server)
	return compiledPolicy{p}, ok && p != nil
}

func (c compiled) revoked(caller *extauthz.Caller) (revoked bool, changed <-chan struct{}) {
	name, changed := c.policies.Revoked(caller, time.Now())
	return name != "", changed
}

type compiledPolicy struct{ policy *extauthz.ServerPolicy }

func (c compiledPolicy) upstream(generation int64) (forwarded, ok bool) {
	u, ok := c.policy.Upstream(generation)
	if !ok || u == nil {
		return false, false
	}
	return u.ForwardClientToken, true
}

func (c compiledPolicy) visible(scopes string, l list) filter {
	kind := [...]extauthz.ListKind{
		tools:             extauthz.Tools,
		prompts:           extauthz.Prompts,
		resources:         extauthz.Resources,
		resourceTemplates: extauthz.ResourceTemplates,
	}[l]
	return c.policy.Visible(extauthz.ParseScopeNames(scopes), kind)
}
