package registry

import "slices"

// Clone implements Resource.
func (s *Server) Clone() Resource {
	c := *s
	c.Tags = slices.Clone(s.Tags)
	c.Enabled = clonePtr(s.Enabled)
	c.Upstream.TLS = clonePtr(s.Upstream.TLS)
	c.Upstream.Credential = clonePtr(s.Upstream.Credential)
	if c.Upstream.Exchange = clonePtr(s.Upstream.Exchange); c.Upstream.Exchange != nil {
		c.Upstream.Exchange.Scopes = slices.Clone(s.Upstream.Exchange.Scopes)
	}
	c.Access.Issuers = slices.Clone(s.Access.Issuers)
	c.Access.Audiences = slices.Clone(s.Access.Audiences)
	c.Access.BaselineScopes = slices.Clone(s.Access.BaselineScopes)
	return &c
}

// Clone implements Resource.
func (i *Issuer) Clone() Resource {
	c := *i
	c.Audiences = slices.Clone(i.Audiences)
	c.Algorithms = slices.Clone(i.Algorithms)
	c.TokenTypes = slices.Clone(i.TokenTypes)
	c.Claims = Claims{
		Subject: clonePaths(i.Claims.Subject),
		Client:  clonePaths(i.Claims.Client),
		Scopes:  clonePaths(i.Claims.Scopes),
		Groups:  clonePaths(i.Claims.Groups),
		TokenID: clonePaths(i.Claims.TokenID),
		Session: clonePaths(i.Claims.Session),
	}
	c.Introspection = clonePtr(i.Introspection)
	return &c
}

// Clone implements Resource.
func (s *Scope) Clone() Resource {
	c := *s
	c.Includes = slices.Clone(s.Includes)
	c.Rules = slices.Clone(s.Rules)
	for i, r := range c.Rules {
		c.Rules[i] = Rule{
			Servers:   slices.Clone(r.Servers),
			Tools:     slices.Clone(r.Tools),
			Prompts:   slices.Clone(r.Prompts),
			Resources: slices.Clone(r.Resources),
			Methods:   slices.Clone(r.Methods),
		}
	}
	return &c
}

// Clone implements Resource.
func (g *Group) Clone() Resource {
	c := *g
	c.Scopes = slices.Clone(g.Scopes)
	return &c
}

// Clone implements Resource.
func (r *Revocation) Clone() Resource {
	c := *r
	return &c
}

// Clone implements Resource.
func (k *SessionKey) Clone() Resource {
	c := *k
	c.Secret = slices.Clone(k.Secret)
	return &c
}

func clonePtr[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

func clonePaths(paths []ClaimPath) []ClaimPath {
	c := slices.Clone(paths)
	for i := range c {
		c[i] = slices.Clone(c[i])
	}
	return c
}
