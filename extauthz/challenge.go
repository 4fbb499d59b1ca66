package extauthz

import "strings"

// maxChallengeScopes bounds the scopes of a challenge in bytes, so that the
// header stays below what proxies and clients accept.
const maxChallengeScopes = 4 << 10

// Challenge is the value of WWW-Authenticate (RFC 6750 section 3, RFC 9728
// section 5.1) for the decision, or "" when it has none.
//
// Clients read it with regular expressions: the scheme comes first, then
// error, scope and resource_metadata, and a description last, in words that
// none of them takes for a parameter.
func (d Decision) Challenge(p *ServerPolicy) string {
	a := d.Rule.Answer()
	if d.Allow || !a.Challenge || p == nil {
		return ""
	}
	metadata := param("resource_metadata", p.MetadataURL)
	scope := param("scope", joinScopes(d.Scopes))
	var params []string
	switch a.OAuthError {
	case "":
		params = []string{metadata, scope}
	case oauthInsufficientScope:
		params = []string{param("error", a.OAuthError), scope, metadata}
	default:
		params = []string{param("error", a.OAuthError), scope, metadata, param("error_description", a.Message)}
	}
	var b strings.Builder
	b.WriteString("Bearer")
	sep := " "
	for _, p := range params {
		if p != "" {
			b.WriteString(sep)
			b.WriteString(p)
			sep = ", "
		}
	}
	return b.String()
}

// param is name="value", or "" when the value is empty or would need an
// escape, which clients do not read.
func param(name, value string) string {
	if value == "" || !quotable(value) {
		return ""
	}
	return name + `="` + value + `"`
}

// joinScopes joins scope names by spaces. A name that is no scope-token
// (RFC 6749 section 3.3), which the registry does not accept, is left out.
func joinScopes(names []string) string {
	var b strings.Builder
	for _, n := range names {
		if n == "" || !quotable(n) || strings.Contains(n, " ") {
			continue
		}
		if b.Len()+1+len(n) > maxChallengeScopes {
			break
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(n)
	}
	return b.String()
}

// quotable reports whether s is printable ASCII without quote and backslash.
func quotable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
