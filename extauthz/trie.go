package extauthz

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// trie is a persistent hash trie: a map whose old versions stay readable while
// a new one is made, at a cost that grows with the depth and not with the
// number of entries. The zero trie is not usable; see newTrie.
type trie[V any] struct {
	seed maphash.Seed
	root *trieNode[V]
}

// edit marks the nodes that were made for one new version, which are not yet
// shared and may be changed in place until that version is published.
type edit struct{ _ byte }

const (
	trieBits = 5
	// trieDepth is the shift at which the hash has no more bits to offer;
	// below it a node is a plain list.
	trieDepth = 60
)

type trieNode[V any] struct {
	owner  *edit
	bitmap uint32
	slots  []trieSlot[V]
}

// trieSlot is a child when child is set, else an entry.
type trieSlot[V any] struct {
	child *trieNode[V]
	key   string
	value V
}

func newTrie[V any]() trie[V] { return trie[V]{seed: maphash.MakeSeed()} }

func (t trie[V]) get(key string) (v V, ok bool) {
	h, n := maphash.String(t.seed, key), t.root
	for shift := 0; n != nil; shift += trieBits {
		i, found := n.find(h, shift, key)
		if !found {
			return v, false
		}
		s := &n.slots[i]
		if s.child == nil {
			if s.key != key {
				return v, false
			}
			return s.value, true
		}
		n = s.child
	}
	return v, false
}

// set returns the trie with the entry added or replaced.
func (t trie[V]) set(e *edit, key string, value V) trie[V] {
	t.root = t.root.set(e, t.seed, maphash.String(t.seed, key), 0, trieSlot[V]{key: key, value: value})
	return t
}

// unset returns the trie without the entry.
func (t trie[V]) unset(e *edit, key string) trie[V] {
	if _, ok := t.get(key); ok {
		t.root = t.root.unset(e, maphash.String(t.seed, key), 0, key)
	}
	return t
}

// find returns the index of the slot for the hash, or where it would be.
func (n *trieNode[V]) find(h uint64, shift int, key string) (int, bool) {
	if shift >= trieDepth {
		i := slices.IndexFunc(n.slots, func(s trieSlot[V]) bool { return s.key == key })
		if i < 0 {
			return len(n.slots), false
		}
		return i, true
	}
	bit := uint32(1) << (h >> shift & (1<<trieBits - 1))
	return bits.OnesCount32(n.bitmap & (bit - 1)), n.bitmap&bit != 0
}

// own returns n, or a copy of it, that may be changed under e.
func (n *trieNode[V]) own(e *edit) *trieNode[V] {
	if n == nil {
		return &trieNode[V]{owner: e}
	}
	if n.owner == e {
		return n
	}
	return &trieNode[V]{owner: e, bitmap: n.bitmap, slots: slices.Clone(n.slots)}
}

func (n *trieNode[V]) set(e *edit, seed maphash.Seed, h uint64, shift int, entry trieSlot[V]) *trieNode[V] {
	n = n.own(e)
	i, found := n.find(h, shift, entry.key)
	if !found {
		n.slots = slices.Insert(n.slots, i, entry)
		if shift < trieDepth {
			n.bitmap |= 1 << (h >> shift & (1<<trieBits - 1))
		}
		return n
	}
	s := &n.slots[i]
	switch {
	case s.child != nil:
		s.child = s.child.set(e, seed, h, shift+trieBits, entry)
	case s.key == entry.key:
		s.value = entry.value
	default:
		var c *trieNode[V]
		c = c.set(e, seed, maphash.String(seed, s.key), shift+trieBits, *s)
		*s = trieSlot[V]{child: c.set(e, seed, h, shift+trieBits, entry)}
	}
	return n
}

// unset removes a key that is there. Nodes left with one entry stay: they are
// rare, and cost a step of a lookup, not its result.
func (n *trieNode[V]) unset(e *edit, h uint64, shift int, key string) *trieNode[V] {
	n = n.own(e)
	i, _ := n.find(h, shift, key)
	if c := n.slots[i].child; c != nil {
		if c = c.unset(e, h, shift+trieBits, key); c != nil {
			n.slots[i].child = c
			return n
		}
	}
	n.slots = slices.Delete(n.slots, i, i+1)
	if shift < trieDepth {
		n.bitmap &^= 1 << (h >> shift & (1<<trieBits - 1))
	}
	if len(n.slots) == 0 {
		return nil
	}
	return n
}

// each calls fn with every key, in no order.
func (t trie[V]) each(fn func(key string)) { t.root.each(fn) }

func (n *trieNode[V]) each(fn func(string)) {
	if n == nil {
		return
	}
	for _, s := range n.slots {
		if s.child != nil {
			s.child.each(fn)
		} else {
			fn(s.key)
		}
	}
}
