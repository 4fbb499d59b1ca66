package token

import (
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/registry"
)

// Bounds of what a claim set may hold. A token at MaxBytes cannot reach far
// above them; they keep what follows (matching, headers, audit) bounded.
const (
	maxEntries = 1000
	maxText    = 1024
)

const leeway = extauthz.ClockLeeway

// lastTime is the end of the year 9999, the last that RFC 3339 can write.
const lastTime = 253402300799

// validity is when a token may be used; notBefore already includes `iat`.
type validity struct {
	notBefore, expires time.Time
	// issued is the zero time when the token does not say.
	issued time.Time
}

// check reports whether the token may be used now, within the leeway.
func (v validity) check(now time.Time) *Error {
	if !now.Before(v.expires.Add(leeway)) {
		return refusef(extauthz.RuleTokenExpired, "expired %s ago", now.Sub(v.expires).Round(time.Second))
	}
	if now.Before(v.notBefore.Add(-leeway)) {
		return refusef(extauthz.RuleTokenNotYetValid, "not valid for another %s", v.notBefore.Sub(now).Round(time.Second))
	}
	return nil
}

// readValidity reads `exp`, which is required, `nbf` and `iat`.
func readValidity(c object) (v validity, err *Error) {
	exp, present, err := readTime(c, "exp")
	switch {
	case err != nil:
		return v, err
	case !present:
		return v, refusef(extauthz.RuleTokenClaim, "exp is missing")
	}
	v.expires = exp
	for _, name := range []string{"nbf", "iat"} {
		t, present, err := readTime(c, name)
		if err != nil {
			return v, err
		}
		if present && name == "iat" {
			v.issued = t
		}
		if present && t.After(v.notBefore) {
			v.notBefore = t
		}
	}
	return v, nil
}

// readTime reads a NumericDate (RFC 7519 section 2): seconds, perhaps with a
// fraction.
func readTime(c object, name string) (t time.Time, present bool, err *Error) {
	v, present := c[name]
	if !present {
		return t, false, nil
	}
	n, ok := v.(float64)
	if !ok {
		return t, true, refusef(extauthz.RuleTokenClaim, "%s is not a number", name)
	}
	if !(n >= 0 && n <= lastTime) {
		return t, true, refusef(extauthz.RuleTokenClaim, "%s is no time between 1970 and 9999", name)
	}
	sec, frac := math.Modf(n)
	return time.Unix(int64(sec), int64(frac*1e9)), true, nil
}

// readAudience reads `aud`: a string or an array of strings. It returns nil
// when there is none and the Issuer lets something else stand for it.
func (i *issuer) readAudience(c object) ([]string, *Error) {
	v, present := c["aud"]
	if !present {
		if i.audienceFrom == registry.AudienceFromClient {
			return nil, nil
		}
		return nil, refusef(extauthz.RuleTokenAudience, "aud is missing")
	}
	list, err := stringList("aud", v)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, refusef(extauthz.RuleTokenAudience, "aud is empty")
	}
	return list, nil
}

// accepts reports whether one of the audiences of a token is one of those
// accepted. Comparison is byte for byte.
func accepts(aud, ofServer, ofIssuer []string) *Error {
	for _, a := range aud {
		if slices.Contains(ofServer, a) || slices.Contains(ofIssuer, a) {
			return nil
		}
	}
	if len(ofServer) == 0 && len(ofIssuer) == 0 {
		return refusef(extauthz.RuleTokenAudience, "no audience is configured, so none is accepted")
	}
	return refusef(extauthz.RuleTokenAudience, "the audience %s is not accepted here", quote(strings.Join(aud, " ")))
}

// readCaller reads whom the token speaks for.
func readCaller(c object, paths registry.Claims) (*extauthz.Caller, *Error) {
	var caller extauthz.Caller
	var err *Error
	if caller.Subject, err = readText(c, extauthz.RuleTokenSubject, "the subject", paths.Subject); err != nil {
		return nil, err
	}
	if caller.Subject == "" {
		return nil, refusef(extauthz.RuleTokenSubject, "the subject is missing or empty")
	}
	if caller.Client, err = readText(c, extauthz.RuleTokenClaim, "the client", paths.Client); err != nil {
		return nil, err
	}
	if caller.TokenID, err = readText(c, extauthz.RuleTokenClaim, "the token id", paths.TokenID); err != nil {
		return nil, err
	}
	if caller.SessionID, err = readText(c, extauthz.RuleTokenClaim, "the session", paths.Session); err != nil {
		return nil, err
	}
	if v, present := firstOf(c, paths.Scopes); present {
		if caller.Scopes, err = readScopes(v); err != nil {
			return nil, err
		}
	}
	if v, present := firstOf(c, paths.Groups); present {
		if caller.Groups, err = stringList("groups", v); err != nil {
			return nil, err
		}
	}
	return &caller, nil
}

// firstOf is the value of the first path that leads to one.
func firstOf(c object, paths []registry.ClaimPath) (any, bool) {
	for _, p := range paths {
		if v, ok := c.at(p); ok {
			return v, true
		}
	}
	return nil, false
}

// readText reads a claim that is copied into a header and an audit line.
// Absent is "".
func readText(c object, rule extauthz.Rule, name string, paths []registry.ClaimPath) (string, *Error) {
	v, present := firstOf(c, paths)
	if !present {
		return "", nil
	}
	s, ok := v.(string)
	switch {
	case !ok:
		return "", refusef(rule, "%s is not a string", name)
	case len(s) > maxText:
		return "", refusef(rule, "%s has %d bytes, more than %d", name, len(s), maxText)
	case hasControl(s):
		return "", refusef(rule, "%s has a control character", name)
	}
	return s, nil
}

// readScopes reads a scope claim: a string, split on U+0020 alone (RFC 6749
// section 3.3), or an array of single scopes.
func readScopes(v any) ([]string, *Error) {
	var list []string
	switch v := v.(type) {
	case string:
		for s := range strings.SplitSeq(v, " ") {
			if s != "" {
				list = append(list, s)
			}
		}
	case []any:
		var err *Error
		if list, err = stringList("scopes", v); err != nil {
			return nil, err
		}
		for _, s := range list {
			if s == "" || strings.Contains(s, " ") {
				return nil, refusef(extauthz.RuleTokenClaim, "scopes has an entry that is not one scope: %s", quote(s))
			}
		}
	default:
		return nil, refusef(extauthz.RuleTokenClaim, "scopes is neither a string nor an array")
	}
	if len(list) > maxEntries {
		return nil, refusef(extauthz.RuleTokenClaim, "scopes has %d entries, more than %d", len(list), maxEntries)
	}
	if i := slices.IndexFunc(list, hasControl); i >= 0 {
		return nil, refusef(extauthz.RuleTokenClaim, "scopes has a control character in %s", quote(list[i]))
	}
	return list, nil
}

// stringList reads a string or an array of strings.
func stringList(name string, v any) ([]string, *Error) {
	if s, ok := v.(string); ok {
		return []string{s}, nil
	}
	array, ok := v.([]any)
	if !ok {
		return nil, refusef(extauthz.RuleTokenClaim, "%s is neither a string nor an array of strings", name)
	}
	if len(array) > maxEntries {
		return nil, refusef(extauthz.RuleTokenClaim, "%s has %d entries, more than %d", name, len(array), maxEntries)
	}
	list := make([]string, len(array))
	for i, v := range array {
		if list[i], ok = v.(string); !ok {
			return nil, refusef(extauthz.RuleTokenClaim, "%s has an entry that is not a string", name)
		}
	}
	return list, nil
}

// otherKind refuses what is not an access token although its type may be the
// general JWT: mutually exclusive rules for each kind, RFC 8725 section 3.12.
func otherKind(c object, accessTyped, scoped bool) *Error {
	if use, present := c["token_use"]; present && use != "access" {
		return refusef(extauthz.RuleTokenType, "token_use is not access")
	}
	// Keycloak names the kind in a claim.
	if typ, ok := c["typ"].(string); ok {
		switch strings.ToLower(typ) {
		case "id", "refresh", "offline", "logout":
			return refusef(extauthz.RuleTokenType, "the claim typ is %s", quote(typ))
		}
	}
	// A logout token, or another security event (RFC 8417).
	if _, present := c["events"]; present {
		return refusef(extauthz.RuleTokenType, "a security event token (events)")
	}
	if _, present := c["cnf"]; present {
		return refusef(extauthz.RuleTokenType, "a token bound to a key (cnf) cannot be taken as a bearer token")
	}
	if accessTyped {
		return nil
	}
	for _, name := range []string{"at_hash", "c_hash", "s_hash"} {
		if _, present := c[name]; present {
			return refusef(extauthz.RuleTokenType, "an ID token (%s)", name)
		}
	}
	// Older Keycloaks repeat the nonce in access tokens, which have scopes.
	if _, present := c["nonce"]; present && !scoped {
		return refusef(extauthz.RuleTokenType, "an ID token (nonce, no scopes)")
	}
	return nil
}

// hasControl reports a character that must not get into a header: the C0 and
// C1 controls, NUL and DEL among them.
func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }
