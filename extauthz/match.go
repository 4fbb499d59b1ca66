package extauthz

import (
	"cmp"
	"slices"
	"sort"

	"github.com/mcpgate/mcpgate/registry"
)

// operation is what one grant must cover: the use of one target, or, for
// onServer, of the server as such.
type operation struct {
	kind   operationKind
	target string
}

type operationKind uint8

const (
	// onServer is covered by any rule that names the server.
	onServer operationKind = iota
	onTool
	onPrompt
	onResource
	// onMethod is a method that only `methods` of a rule can grant.
	onMethod
)

// closeness says how a pattern covers a target; less grants less.
type closeness uint8

const (
	exactly closeness = iota
	byPrefix
	byAny
)

// matcher is a compiled list of patterns.
type matcher struct {
	any bool
	// exact is sorted.
	exact []string
	// prefixes is sorted, and none is a prefix of another.
	prefixes []string
}

func compileMatcher(patterns []registry.Pattern) matcher {
	var m matcher
	for _, p := range patterns {
		switch n := len(p); {
		case p == "*":
			m.any = true
		case n > 0 && p[n-1] == '*':
			m.prefixes = append(m.prefixes, string(p[:n-1]))
		default:
			m.exact = append(m.exact, string(p))
		}
	}
	slices.Sort(m.exact)
	slices.Sort(m.prefixes)
	kept := m.prefixes[:0]
	for _, p := range m.prefixes {
		if len(kept) == 0 || !hasPrefix(p, kept[len(kept)-1]) {
			kept = append(kept, p)
		}
	}
	m.prefixes = kept
	return m
}

// match reports whether a pattern covers the name, and how closely.
func (m *matcher) match(name string) (closeness, bool) {
	if _, ok := slices.BinarySearch(m.exact, name); ok {
		return exactly, true
	}
	// A prefix of name sorts before it, and whatever sorts between the two has
	// that prefix too, so only the last one before name can be one.
	if i := sort.SearchStrings(m.prefixes, name); i < len(m.prefixes) && m.prefixes[i] == name {
		return byPrefix, true
	} else if i > 0 && hasPrefix(name, m.prefixes[i-1]) {
		return byPrefix, true
	}
	return byAny, m.any
}

func (m *matcher) empty() bool { return !m.any && len(m.exact) == 0 && len(m.prefixes) == 0 }

func hasPrefix(s, prefix string) bool { return len(s) >= len(prefix) && s[:len(prefix)] == prefix }

// rule is one compiled registry.Rule, shared by all servers that it names.
type rule struct {
	source *registry.Rule
	// index is that of the rule in its scope.
	index                     int
	tools, prompts, resources matcher
	// methods is sorted. Those that the table governs otherwise have no effect:
	// no operation asks for them.
	methods []string
}

func compileRule(r *registry.Rule) *rule {
	return &rule{
		source:    r,
		tools:     compileMatcher(r.Tools),
		prompts:   compileMatcher(r.Prompts),
		resources: compileMatcher(r.Resources),
		methods:   slices.Sorted(slices.Values(r.Methods)),
	}
}

// matcher is the one that judges operations of the kind, or nil.
func (r *rule) matcher(kind operationKind) *matcher {
	switch kind {
	case onTool:
		return &r.tools
	case onPrompt:
		return &r.prompts
	case onResource:
		return &r.resources
	case onServer, onMethod:
	}
	return nil
}

// covers reports whether the rule, on a server that it names, covers op.
func (r *rule) covers(op operation) (closeness, bool) {
	switch op.kind {
	case onServer:
		return exactly, true
	case onMethod:
		_, ok := slices.BinarySearch(r.methods, op.target)
		return exactly, ok
	case onTool, onPrompt, onResource:
		return r.matcher(op.kind).match(op.target)
	}
	return byAny, false
}

// scope is one compiled registry.Scope.
type scope struct {
	source *registry.Scope
	// named are the servers that its rules name, sorted, each with those rules.
	named []namedServer
	// wild are the rules for every server.
	wild   []*rule
	weight weight
}

type namedServer struct {
	server string
	rules  []*rule
}

// weight orders scopes by how much they grant, least first: rules for every
// server, patterns for every name, servers, prefixes, exact names.
type weight [5]int

func (w weight) compare(o weight) int { return slices.Compare(w[:], o[:]) }

func compileScope(s *registry.Scope) *scope {
	c := &scope{source: s}
	named := make(map[string][]*rule)
	for i := range s.Rules {
		r := compileRule(&s.Rules[i])
		r.index = i
		for _, m := range []*matcher{&r.tools, &r.prompts, &r.resources} {
			if m.any {
				c.weight[1]++
			}
			c.weight[3] += len(m.prefixes)
			c.weight[4] += len(m.exact)
		}
		c.weight[4] += len(r.methods)
		for _, name := range slices.Compact(slices.Sorted(slices.Values(r.source.Servers))) {
			if name == registry.AnyServer {
				c.wild = append(c.wild, r)
			} else {
				named[name] = append(named[name], r)
			}
		}
	}
	for name, rules := range named {
		c.named = append(c.named, namedServer{name, rules})
	}
	slices.SortFunc(c.named, func(a, b namedServer) int { return cmp.Compare(a.server, b.server) })
	c.weight[0], c.weight[2] = len(c.wild), len(c.named)
	return c
}

// on returns the rules that name the server.
func (s *scope) on(server string) []*rule {
	i, ok := slices.BinarySearchFunc(s.named, server, func(n namedServer, name string) int { return cmp.Compare(n.server, name) })
	if !ok {
		return nil
	}
	return s.named[i].rules
}

// grant is what one scope grants on one server, or on every server.
type grant struct {
	scope  string
	weight weight
	rules  []*rule
}

// covers reports whether the grant covers op, and how closely at best.
func (g *grant) covers(op operation) (closest closeness, ok bool) {
	for _, r := range g.rules {
		if c, covered := r.covers(op); covered && (!ok || c < closest) {
			closest, ok = c, true
		}
	}
	return closest, ok
}

// grants are sorted by scope.
type grants []grant

func (gs grants) of(scope string) *grant {
	i, ok := slices.BinarySearchFunc(gs, scope, func(g grant, name string) int { return cmp.Compare(g.scope, name) })
	if !ok {
		return nil
	}
	return &gs[i]
}
