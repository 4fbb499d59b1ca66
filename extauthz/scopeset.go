package extauthz

import (
	"cmp"
	"slices"
	"strings"
)

// ScopeSet is an immutable set of scope names. The zero ScopeSet is empty.
type ScopeSet struct {
	// direct may repeat names.
	direct []string
	// included are the sorted closures of those direct scopes that include
	// others. They belong to the policies and are never copied: one can hold
	// every scope there is.
	included [][]string
}

// NewScopeSet is the set of the given names, which must not be changed
// afterwards.
func NewScopeSet(names []string) ScopeSet { return ScopeSet{direct: names} }

// ParseScopeNames reads scope names separated by single U+0020 (RFC 6749
// section 3.3). Nothing else separates: a tab is part of a name.
func ParseScopeNames(s string) ScopeSet {
	if s == "" {
		return ScopeSet{}
	}
	return NewScopeSet(slices.DeleteFunc(strings.Split(s, " "), func(n string) bool { return n == "" }))
}

// Has reports whether the set holds the scope.
func (s ScopeSet) Has(name string) bool {
	if slices.Contains(s.direct, name) {
		return true
	}
	for _, c := range s.included {
		if _, ok := slices.BinarySearch(c, name); ok {
			return true
		}
	}
	return false
}

// Names lists the set, sorted and without duplicates. Its cost grows with all
// that is included; ServerPolicy.Relevant is what one server needs of it.
func (s ScopeSet) Names() []string {
	all := slices.Clone(s.direct)
	for _, c := range s.included {
		all = append(all, c...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// String is Names separated by spaces: the `scope` claim form.
func (s ScopeSet) String() string { return strings.Join(s.Names(), " ") }

// visit calls fn for each grant in gs whose scope is in s, until fn returns
// false. A grant can be visited twice. The smaller of a closure and gs is
// walked, so that neither a server with few scopes nor a caller with few pays
// for the size of the other.
func (gs grants) visit(s ScopeSet, fn func(*grant) bool) {
	if len(gs) == 0 {
		return
	}
	for _, name := range s.direct {
		if g := gs.of(name); g != nil && !fn(g) {
			return
		}
	}
	for _, closure := range s.included {
		if len(closure) < len(gs) {
			for _, name := range closure {
				if g := gs.of(name); g != nil && !fn(g) {
					return
				}
			}
			continue
		}
		for i := range gs {
			if _, ok := slices.BinarySearchFunc(closure, gs[i].scope, cmp.Compare[string]); ok && !fn(&gs[i]) {
				return
			}
		}
	}
}
