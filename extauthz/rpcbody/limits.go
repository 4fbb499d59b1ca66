package rpcbody

import "cmp"

// Limits are the limits of a reading that can be chosen. A zero field stands
// for its default.
type Limits struct {
	// Depth is how many arrays and objects may be inside each other, the
	// message itself included; MaxDepth when zero. The stack grows with it: it
	// should stay below a thousand.
	Depth int
	// Name bounds the name of a tool or prompt, URI that of a resource, both in
	// bytes of the unescaped string; MaxName and MaxURI when zero.
	Name, URI int
}

func (l Limits) orDefault() Limits {
	return Limits{
		Depth: cmp.Or(l.Depth, MaxDepth),
		Name:  cmp.Or(l.Name, MaxName),
		URI:   cmp.Or(l.URI, MaxURI),
	}
}
