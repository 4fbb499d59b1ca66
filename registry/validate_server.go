package registry

import (
	"slices"
	"strings"
)

// reservedServerNames lists names that would collide with the gateway's own
// paths, now or later.
func reservedServerNames() []string {
	return []string{"api", "healthz", "metrics", "oauth", "ui", "v0", "well-known"}
}

func (s *Server) validate(p *problems) {
	p.name(s.Name)
	if slices.Contains(reservedServerNames(), s.Name) {
		p.addf("name", "%q is reserved", s.Name)
	}
	p.text("title", s.Title, maxTitleBytes, isPrintable)
	p.text("description", s.Description, maxDescriptionBytes, isText)
	if p.count("tags", len(s.Tags), maxTags) {
		p.distinct("tags", s.Tags)
		for i, tag := range s.Tags {
			p.required(at("tags", i), tag, maxTagBytes, isPrintable)
		}
	}
	s.Upstream.validate(p)
	s.Access.validate(p)
}

func (u *Upstream) validate(p *problems) {
	if msg := checkURL(u.URL, urlRules{plainHTTP: true}); msg != "" {
		p.addf("upstream.url", "%s", msg)
	}
	if u.TLS != nil {
		if !strings.HasPrefix(strings.ToLower(u.URL), "https:") {
			p.addf("upstream.tls", "needs an https upstream.url")
		}
		if f := u.TLS.CAFile; f != "" && !isAbsolutePath(f) {
			p.addf("upstream.tls.caFile", "must be a clean absolute path, such as /etc/ca.pem")
		}
		if n := u.TLS.ServerName; n != "" && !isHostName(n) {
			p.addf("upstream.tls.serverName", "must be a DNS name")
		}
	}
	if u.Credential != nil {
		u.Credential.validate(p)
		if u.ForwardClientToken && strings.EqualFold(u.Credential.HeaderName(), "Authorization") {
			p.addf("upstream.forwardClientToken", "cannot be set beside a credential in the same header")
		}
	}
	if u.Exchange != nil {
		u.validateExchange(p)
	}
	p.duration("upstream.connectTimeout", u.ConnectTimeout, minConnectTimeout, maxConnectTimeout)
	p.duration("upstream.idleTimeout", u.IdleTimeout, minIdleTimeout, maxIdleTimeout)
}

func (u *Upstream) validateExchange(p *problems) {
	e := u.Exchange
	validateTokenClient(p, "upstream.exchange", "tokenURL", e.TokenURL, e.ClientID, e.ClientSecret)
	p.text("upstream.exchange.audience", e.Audience, maxAudienceBytes, isPrintable)
	p.scopeNames("upstream.exchange.scopes", e.Scopes, maxScopes)
	if u.Credential != nil {
		p.addf("upstream.exchange", "cannot be set beside upstream.credential: the upstream gets one or the other")
	}
	if u.ForwardClientToken {
		p.addf("upstream.exchange", "cannot be set beside upstream.forwardClientToken: the upstream gets one token or the other")
	}
}

// HeaderName is the name of the header that carries the credential.
func (c *Credential) HeaderName() string {
	if c.Header == "" {
		return "Authorization"
	}
	return c.Header
}

func (c *Credential) validate(p *problems) {
	if c.Header != "" {
		switch {
		case !isToken(c.Header) || len(c.Header) > maxHeaderBytes:
			p.addf("upstream.credential.header", "is not the name of a header")
		case isManagedHeader(strings.ToLower(c.Header)):
			p.addf("upstream.credential.header", "%s cannot carry a credential: HTTP, MCP or the gateway gives it its meaning", c.Header)
		}
	}
	if c.Scheme != "" && (!isToken(c.Scheme) || len(c.Scheme) > maxSchemeBytes) {
		p.addf("upstream.credential.scheme", "is not an authentication scheme, such as Bearer")
	}
	// The value is never repeated: it may be the secret itself.
	if !c.Secret.valid() {
		p.addf("upstream.credential.secret", "must be env:NAME or file:/absolute/path")
	}
}

// isManagedHeader reports whether a header (in lower case) frames the message,
// belongs to the connection or to the browser, or is set by the gateway, Envoy
// or the protocol: a credential there would change what the request means.
func isManagedHeader(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade",
		"host", "content-length", "content-type", "content-encoding", "expect", "accept", "accept-encoding", "last-event-id",
		"cookie", "set-cookie", "origin", "forwarded", "via", "x-request-id", "traceparent", "tracestate":
		return true
	}
	for _, prefix := range []string{"mcp-", "x-mcpgate-", "x-envoy-", "x-forwarded-", "access-control-", "sec-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func (s SecretRef) valid() bool {
	if name, ok := strings.CutPrefix(string(s), "env:"); ok {
		return len(name) <= maxEnvNameBytes && isEnvName(name)
	}
	file, ok := strings.CutPrefix(string(s), "file:")
	return ok && isAbsolutePath(file)
}

// isEnvName reports whether s is a name of an environment variable (POSIX.1).
func isEnvName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '_' {
			return false
		}
	}
	return s != "" && !isDigit(s[0])
}

func (a *Access) validate(p *problems) {
	p.names("access.issuers", a.Issuers, maxIssuers, isName, "the name of an Issuer")
	p.audiences("access.audiences", a.Audiences)
	p.scopeNames("access.baselineScopes", a.BaselineScopes, maxBaseline)
}
