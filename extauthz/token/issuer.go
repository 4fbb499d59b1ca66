package token

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/registry"
)

// accessType is the type of RFC 9068, in normal form.
const accessType = "at+jwt"

// foreignType reports whether a type, in normal form, is that of a token which
// is not an access token, whatever an Issuer lists.
func foreignType(typ string) bool {
	switch typ {
	case "oauth-id-jag+jwt", // Identity Assertion Authorization Grant
		"dpop+jwt",                // RFC 9449
		"logout+jwt",              // OpenID Connect Back-Channel Logout
		"secevent+jwt",            // RFC 8417
		"token-introspection+jwt", // RFC 9701
		"oauth-authz-req+jwt",     // RFC 9101
		"client-authentication+jwt":
		return true
	}
	return false
}

// issuer is an Issuer of the registry, compiled. Its settings never change: a
// change makes another issuer and retires this one, and with it, at once, the
// cached tokens that it accepted.
type issuer struct {
	settings   *registry.Issuer // without metadata
	name, url  string
	algorithms []string
	types      []string
	audiences  []string
	paths      registry.Claims
	// audienceFrom is empty or AudienceFromClient.
	audienceFrom registry.AudienceFrom
	// Exactly one of source and introspector is set: there are two kinds of
	// Issuer, and no way from one to the other.
	source       *source
	introspector *introspector
	retired      atomic.Bool
}

func compile(r *registry.Issuer) *issuer {
	or := func(list []string, def func() []string) []string {
		if len(list) == 0 {
			return def()
		}
		return list
	}
	i := &issuer{
		settings:   settingsOf(r),
		name:       r.Name,
		url:        r.Issuer,
		algorithms: slices.Clone(or(r.Algorithms, registry.DefaultAlgorithms)),
		audiences:  slices.Clone(r.Audiences),
		paths:      r.Claims.WithDefaults(),

		audienceFrom: r.AudienceFrom,
	}
	for _, t := range or(r.TokenTypes, registry.DefaultTokenTypes) {
		i.types = append(i.types, normalType(t))
	}
	return i
}

// settingsOf is a copy of r without what the store keeps about it.
func settingsOf(r *registry.Issuer) *registry.Issuer {
	c, _ := r.Clone().(*registry.Issuer)
	c.Metadata = registry.Metadata{}
	return c
}

// judge applies the issuer's settings to a token, all but the audience and
// the signature. It returns what would be cached.
func (i *issuer) judge(t *jws, now time.Time) (*verified, *Error) {
	if err := i.checkHeader(t); err != nil {
		return nil, err
	}
	return i.judgeClaims(t.claims, normalType(t.typ) == accessType, now)
}

// judgeClaims judges what a token, or its issuer, says of it. accessTyped is
// true when that it is an access token need not be found out.
func (i *issuer) judgeClaims(c object, accessTyped bool, now time.Time) (*verified, *Error) {
	times, err := readValidity(c)
	if err != nil {
		return nil, err
	}
	if err := times.check(now); err != nil {
		return nil, err
	}
	aud, err := i.readAudience(c)
	if err != nil {
		return nil, err
	}
	_, scoped := firstOf(c, i.paths.Scopes)
	if err := otherKind(c, accessTyped, scoped); err != nil {
		return nil, err
	}
	caller, err := readCaller(c, i.paths)
	if err != nil {
		return nil, err
	}
	if aud == nil {
		if caller.Client == "" {
			return nil, refusef(extauthz.RuleTokenAudience, "aud is missing, and so is the client that would stand for it")
		}
		aud = []string{caller.Client}
	}
	caller.Issuer = i.name
	caller.IssuedAt, caller.ExpiresAt = times.issued, times.expires
	return &verified{caller: caller, aud: aud, validity: times, issuer: i}, nil
}

func (i *issuer) checkHeader(t *jws) *Error {
	if t.algorithm == "" {
		return refusef(extauthz.RuleTokenAlgorithm, "alg is missing or empty")
	}
	if !slices.Contains(i.algorithms, t.algorithm) || !supported(t.algorithm) {
		return refusef(extauthz.RuleTokenAlgorithm, "alg %s is not accepted from issuer %s", quote(t.algorithm), i.name)
	}
	typ := normalType(t.typ)
	switch {
	case foreignType(typ):
		return refusef(extauthz.RuleTokenType, "typ %s is another kind of token", quote(t.typ))
	case !slices.Contains(i.types, typ) && !t.typed:
		return refusef(extauthz.RuleTokenType, "typ is missing, and tokenTypes of issuer %s has no empty entry", i.name)
	case !slices.Contains(i.types, typ) || t.typed && typ == "":
		return refusef(extauthz.RuleTokenType, "typ %s is not accepted from issuer %s", quote(t.typ), i.name)
	}
	return nil
}

// verified is what is known of a token whose signature holds. It is immutable.
type verified struct {
	caller *extauthz.Caller
	aud    []string
	validity
	issuer *issuer
	// keys is the set that held the key. While it is the current one, the
	// signature need not be looked at again.
	keys *keySet
	// Of an introspected token: iss is what it was assigned to its issuer by,
	// and until the time up to which the answer is believed.
	iss   string
	until time.Time
}

// current reports whether the entry still stands: its issuer unchanged, and its
// keys neither replaced nor too old, or the issuer's answer not too old.
func (v *verified) current(now time.Time) bool {
	switch {
	case v.issuer.retired.Load():
		return false
	case v.issuer.source == nil:
		return now.Before(v.until)
	}
	return v.issuer.source.has(v.keys, now)
}
