package registry

import (
	"fmt"
	"maps"
	"slices"
)

// reference is one mention of another resource.
type reference struct {
	// field is the path of the field that holds the name.
	field string
	key   Key
}

// referrer lets the kinds list their mentions with field paths, from which
// References is derived.
type referrer interface {
	references(visit func(reference))
}

// References implements Resource: the Issuers and baseline Scopes named.
func (s *Server) References() []Key { return keysOf(s) }

// References implements Resource: an Issuer refers to nothing.
func (i *Issuer) References() []Key { return nil }

// References implements Resource: the Scopes included and the Servers named.
func (s *Scope) References() []Key { return keysOf(s) }

// References implements Resource: the Issuer, if any, and the Scopes given.
func (g *Group) References() []Key { return keysOf(g) }

// References implements Resource: a SessionKey refers to nothing.
func (k *SessionKey) References() []Key { return nil }

func (s *Server) references(visit func(reference)) {
	visitNames(visit, "access.issuers", KindIssuer, s.Access.Issuers)
	visitNames(visit, "access.baselineScopes", KindScope, s.Access.BaselineScopes)
}

func (s *Scope) references(visit func(reference)) {
	visitNames(visit, "includes", KindScope, s.Includes)
	for i, r := range s.Rules {
		for j, name := range r.Servers {
			if name != AnyServer {
				visit(reference{fmt.Sprintf("rules[%d].servers[%d]", i, j), Key{KindServer, name}})
			}
		}
	}
}

func (g *Group) references(visit func(reference)) {
	if g.Issuer != "" {
		visit(reference{"issuer", Key{KindIssuer, g.Issuer}})
	}
	visitNames(visit, "scopes", KindScope, g.Scopes)
}

func visitNames(visit func(reference), field string, kind Kind, names []string) {
	for i, name := range names {
		visit(reference{fmt.Sprintf("%s[%d]", field, i), Key{kind, name}})
	}
}

// keysOf is the sorted set of the keys that r mentions.
func keysOf(r referrer) []Key {
	set := make(map[Key]struct{})
	r.references(func(ref reference) { set[ref.key] = struct{}{} })
	if len(set) == 0 {
		return nil
	}
	return slices.SortedFunc(maps.Keys(set), Key.Compare)
}
