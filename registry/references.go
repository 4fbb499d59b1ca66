package registry

import "slices"

// reference is one mention of another resource, in a list or, with a negative
// index, in a single field.
type reference struct {
	field string
	index int
	// rule is the index of the rule that has the field, negative for a field of
	// the resource.
	rule int
	key  Key
}

// path is the path of the field that holds the name. It is rarely needed, and
// so not built while references are collected.
func (r reference) path() string {
	s := r.field
	if r.rule >= 0 {
		s = at("rules", r.rule) + "." + s
	}
	if r.index >= 0 {
		s = at(s, r.index)
	}
	return s
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

// References implements Resource: the Issuer, if any.
func (r *Revocation) References() []Key { return keysOf(r) }

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
				visit(reference{field: "servers", index: j, rule: i, key: Key{KindServer, name}})
			}
		}
	}
}

func (g *Group) references(visit func(reference)) {
	if g.Issuer != "" {
		visit(reference{field: "issuer", index: -1, rule: -1, key: Key{KindIssuer, g.Issuer}})
	}
	visitNames(visit, "scopes", KindScope, g.Scopes)
}

func (r *Revocation) references(visit func(reference)) {
	if r.Issuer != "" {
		visit(reference{field: "issuer", index: -1, rule: -1, key: Key{KindIssuer, r.Issuer}})
	}
}

func visitNames(visit func(reference), field string, kind Kind, names []string) {
	for i, name := range names {
		visit(reference{field: field, index: i, rule: -1, key: Key{kind, name}})
	}
}

// keysOf is the sorted set of the keys that r mentions.
func keysOf(r referrer) []Key {
	var keys []Key
	r.references(func(ref reference) { keys = append(keys, ref.key) })
	slices.SortFunc(keys, Key.Compare)
	return slices.Compact(keys)
}
