package registry

import (
	"slices"
	"strings"
)

// knownAlgorithms lists the JWS algorithms (RFC 7518, RFC 8037) that an Issuer
// can name: signatures by a private key that only the issuer has.
func knownAlgorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

func (i *Issuer) validate(p *problems) {
	p.name(i.Name)
	if msg := checkURL(i.Issuer, urlRules{}); msg != "" {
		p.addf("issuer", "%s", msg)
	}
	// Some providers select the key set by a query.
	if i.JWKSURI != "" {
		if msg := checkURL(i.JWKSURI, urlRules{query: true}); msg != "" {
			p.addf("jwksURI", "%s", msg)
		}
	}
	p.audiences("audiences", i.Audiences)
	if from := i.AudienceFrom; from != "" && from != AudienceFromClient {
		p.addf("audienceFrom", "is not %s, the only choice", AudienceFromClient)
	}
	if i.Introspection != nil {
		i.validateIntrospection(p)
	}
	i.validateAlgorithms(p)
	// The empty type stands for tokens without one.
	tokenType := func(s string) bool { return s == "" || isMediaType(s) }
	p.names("tokenTypes", i.TokenTypes, maxPaths, tokenType, "a JOSE type such as at+jwt")
	i.Claims.validate(p)
	p.duration("keys.refresh", i.Keys.Refresh, minRefresh, maxRefresh)
	p.duration("keys.maxStale", i.Keys.MaxStale, minRefresh, maxMaxStale)
	if refresh, stale := i.Keys.Refresh.Or(DefaultKeyRefresh), i.Keys.MaxStale.Or(DefaultKeyMaxStale); stale > 0 && stale < refresh {
		p.addf("keys.maxStale", "must not be shorter than keys.refresh (%s): keys would expire before they are fetched again", refresh)
	}
}

// validateIntrospection refuses an Issuer that would be of both kinds: a token
// that one way refuses must not find the other.
func (i *Issuer) validateIntrospection(p *problems) {
	validateTokenClient(p, "introspection", "url", i.Introspection.URL, i.Introspection.ClientID, i.Introspection.ClientSecret)
	for _, f := range []struct {
		field string
		set   bool
	}{
		{"jwksURI", i.JWKSURI != ""}, {"algorithms", len(i.Algorithms) > 0}, {"tokenTypes", len(i.TokenTypes) > 0}, {"keys", i.Keys != Keys{}},
	} {
		if f.set {
			p.addf(f.field, "cannot be set beside introspection: an Issuer verifies its tokens in one way")
		}
	}
}

// validateTokenClient checks how the gateway calls an endpoint of an
// authorization server. The secret is never repeated: it may be the secret
// itself.
func validateTokenClient(p *problems, field, urlField, url, clientID string, secret SecretRef) {
	if msg := checkURL(url, urlRules{query: true}); msg != "" {
		p.addf(field+"."+urlField, "%s", msg)
	}
	p.required(field+".clientID", clientID, maxClientIDBytes, isPrintable)
	if !secret.valid() {
		p.addf(field+".clientSecret", "must be env:NAME or file:/absolute/path")
	}
}

func (i *Issuer) validateAlgorithms(p *problems) {
	if !p.count("algorithms", len(i.Algorithms), len(knownAlgorithms())) {
		return
	}
	p.distinct("algorithms", i.Algorithms)
	for n, alg := range i.Algorithms {
		if slices.Contains(knownAlgorithms(), alg) {
			continue
		}
		switch {
		case strings.EqualFold(alg, "none"):
			p.addf(at("algorithms", n), "none is refused: anybody could write such a token")
		case strings.HasPrefix(strings.ToUpper(alg), "HS"):
			p.addf(at("algorithms", n), "HMAC algorithms are refused: whoever can check such a token can also write one")
		default:
			p.addf(at("algorithms", n), "is not one of %s", strings.Join(knownAlgorithms(), ", "))
		}
	}
}

// isMediaType reports whether s is a type and perhaps a subtype (RFC 7515
// section 4.1.9), without parameters.
func isMediaType(s string) bool {
	first, second, two := strings.Cut(s, "/")
	return len(s) <= maxTypeBytes && isToken(first) && (!two || isToken(second))
}

func (c *Claims) validate(p *problems) {
	for _, f := range []struct {
		field string
		paths []ClaimPath
	}{
		{"claims.subject", c.Subject},
		{"claims.client", c.Client},
		{"claims.scopes", c.Scopes},
		{"claims.groups", c.Groups},
		{"claims.tokenID", c.TokenID},
		{"claims.session", c.Session},
	} {
		if !p.count(f.field, len(f.paths), maxPaths) {
			continue
		}
		for i, keys := range f.paths {
			field := at(f.field, i)
			if len(keys) == 0 {
				p.addf(field, "is empty: a path is a list of one or more keys")
			}
			if !p.count(field, len(keys), maxPathKeys) {
				continue
			}
			for j, key := range keys {
				p.required(at(field, j), key, maxClaimBytes, isPrintable)
			}
		}
	}
}
