package registry

import (
	"maps"
	"slices"
)

// Clone implements Resource.
func (s *Server) Clone() Resource {
	c := *s
	c.Tags = slices.Clone(s.Tags)
	c.Enabled = clonePtr(s.Enabled)
	c.Upstream.TLS = clonePtr(s.Upstream.TLS)
	c.Upstream.Credential = clonePtr(s.Upstream.Credential)
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
	}
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

// References implements Resource: the Issuers and baseline Scopes named.
func (s *Server) References() []Key {
	var refs keySet
	refs.add(KindIssuer, s.Access.Issuers...)
	refs.add(KindScope, s.Access.BaselineScopes...)
	return refs.sorted()
}

// References implements Resource: an Issuer refers to nothing.
func (i *Issuer) References() []Key { return nil }

// References implements Resource: the Scopes included and the Servers named.
func (s *Scope) References() []Key {
	var refs keySet
	refs.add(KindScope, s.Includes...)
	for _, r := range s.Rules {
		for _, name := range r.Servers {
			if name != AnyServer {
				refs.add(KindServer, name)
			}
		}
	}
	return refs.sorted()
}

// References implements Resource: the Issuer, if any, and the Scopes given.
func (g *Group) References() []Key {
	var refs keySet
	if g.Issuer != "" {
		refs.add(KindIssuer, g.Issuer)
	}
	refs.add(KindScope, g.Scopes...)
	return refs.sorted()
}

// References implements Resource: a SessionKey refers to nothing.
func (k *SessionKey) References() []Key { return nil }

// keySet collects keys; its zero value is empty.
type keySet map[Key]struct{}

func (s *keySet) add(kind Kind, names ...string) {
	if *s == nil {
		*s = make(keySet)
	}
	for _, n := range names {
		(*s)[Key{kind, n}] = struct{}{}
	}
}

func (s keySet) sorted() []Key { return slices.SortedFunc(maps.Keys(s), Key.Compare) }
