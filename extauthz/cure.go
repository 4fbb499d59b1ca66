package extauthz

import (
	"cmp"
	"maps"
	"math/bits"
	"slices"
)

// Limits of the search for a smallest set of scopes. Beyond them the set is
// small, but maybe not the smallest.
const (
	// maxIncluders is the number of scopes that are considered only for what
	// they include.
	maxIncluders = 256
	// maxSteps is the number of scopes tried in the search.
	maxSteps = 20_000
)

// candidate is a scope that would cover some of the missing operations.
type candidate struct {
	name string
	// included is true when it covers them only through what it includes.
	included bool
	// wild is true when it does so by rules for every server.
	wild    bool
	closest closeness
	weight  weight
	covers  bitset
}

// compare orders candidates: the one that grants least first.
func (c *candidate) compare(o *candidate) int {
	flag := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(flag(c.included), flag(o.included)),
		cmp.Compare(flag(c.wild), flag(o.wild)),
		cmp.Compare(c.closest, o.closest),
		c.weight.compare(o.weight),
		cmp.Compare(c.name, o.name),
	)
}

// cure returns the smallest set of scopes that covers every operation, or nil
// when none does; of several such sets the one that grants least. It is in
// stable order.
func (s *ServerPolicy) cure(missing []operation) []string {
	if len(missing) == 1 {
		// One operation needs one scope, and never one that only includes it.
		best, found := candidate{}, false
		s.granters(missing[0], func(c candidate) {
			if !found || c.compare(&best) < 0 {
				best, found = c, true
			}
		})
		if !found {
			return nil
		}
		return []string{best.name}
	}
	cs := s.candidates(missing)
	all := newBitset(len(missing))
	for i := range missing {
		all.add(i)
	}
	chosen := cover(cs, all)
	names := make([]string, len(chosen))
	for i, c := range chosen {
		names[i] = c.name
	}
	slices.Sort(names)
	return names
}

// granters calls fn with each scope whose own rules cover op.
func (s *ServerPolicy) granters(op operation, fn func(candidate)) {
	for _, from := range []struct {
		gs   grants
		wild bool
	}{{s.grants, false}, {s.view.wild, true}} {
		for i := range from.gs {
			g := &from.gs[i]
			if closest, ok := g.covers(op); ok {
				fn(candidate{name: g.scope, wild: from.wild, closest: closest, weight: s.view.weigh(g)})
			}
		}
	}
}

// weigh is the weight of the grant's scope with what it includes.
func (v *view) weigh(g *grant) weight {
	w := g.weight
	if c, ok := v.closures.get(g.scope); ok {
		w[len(w)-1] += len(c)
	}
	return w
}

// candidates lists the scopes that cover any of the operations, directly or by
// what they include, the one that grants least first.
func (s *ServerPolicy) candidates(ops []operation) []*candidate {
	byName := make(map[string]*candidate)
	add := func(c candidate) *candidate {
		known, ok := byName[c.name]
		if !ok {
			c.covers = newBitset(len(ops))
			known = &c
			byName[c.name] = known
		}
		known.wild = known.wild && c.wild
		known.closest = max(known.closest, c.closest)
		return known
	}
	for i, op := range ops {
		s.granters(op, func(c candidate) { add(c).covers.add(i) })
	}
	sorted := func() []*candidate {
		return slices.SortedFunc(maps.Values(byName), (*candidate).compare)
	}
	up := func(name string) []string { l, _ := s.view.includers.get(name); return l }
	budget := maxIncluders
	for _, direct := range sorted() {
		if budget <= 0 {
			break
		}
		// What direct covers by its own rules and what a scope that it includes
		// covers both go to all that include it.
		for _, name := range reach(direct.name, up, budget)[1:] {
			closure, _ := s.view.closures.get(name)
			budget--
			add(candidate{
				name: name, included: true, wild: direct.wild, closest: direct.closest, weight: weight{len(closure)},
			}).covers.union(direct.covers)
		}
	}
	return sorted()
}

// cover chooses the fewest candidates that cover all of want, preferring those
// that come first; nil when they cannot.
func cover(cs []*candidate, want bitset) []*candidate {
	greedy := coverGreedily(cs, want)
	steps := maxSteps
	for size := 1; size <= len(greedy); size++ {
		if chosen := coverWith(cs, want, size, &steps); chosen != nil {
			return chosen
		}
		if steps <= 0 {
			break
		}
	}
	return greedy
}

func coverGreedily(cs []*candidate, want bitset) []*candidate {
	left, chosen := want.clone(), []*candidate(nil)
	for !left.empty() {
		best, gain := (*candidate)(nil), 0
		for _, c := range cs {
			if n := left.common(c.covers); n > gain {
				best, gain = c, n
			}
		}
		if best == nil {
			return nil
		}
		left.remove(best.covers)
		chosen = append(chosen, best)
	}
	return chosen
}

// coverWith finds at most size candidates that cover left: one of them must
// cover its first member, so only those are tried.
func coverWith(cs []*candidate, left bitset, size int, steps *int) []*candidate {
	first := left.first()
	if first < 0 {
		return []*candidate{}
	}
	if size == 0 {
		return nil
	}
	for _, c := range cs {
		if !c.covers.has(first) {
			continue
		}
		if *steps--; *steps <= 0 {
			return nil
		}
		rest := left.clone()
		rest.remove(c.covers)
		if chosen := coverWith(cs, rest, size-1, steps); chosen != nil {
			return append([]*candidate{c}, chosen...)
		}
	}
	return nil
}

// bitset is a set of small integers.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) add(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bitset) clone() bitset  { return slices.Clone(b) }
func (b bitset) empty() bool    { return b.first() < 0 }

func (b bitset) remove(o bitset) {
	for i := range b {
		b[i] &^= o[i]
	}
}

func (b bitset) union(o bitset) {
	for i := range b {
		b[i] |= o[i]
	}
}

// common is the number of members of both.
func (b bitset) common(o bitset) (n int) {
	for i := range b {
		n += bits.OnesCount64(b[i] & o[i])
	}
	return n
}

// first is the smallest member, or -1.
func (b bitset) first() int {
	for i, w := range b {
		if w != 0 {
			return i*64 + bits.TrailingZeros64(w)
		}
	}
	return -1
}
