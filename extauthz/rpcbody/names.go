package rpcbody

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
)

const (
	// linearNames is the number of members up to which an object's names are
	// compared one by one. Most objects have fewer.
	linearNames = 16

	// What a scanner may keep for the next message: names, slots and bytes.
	keptNames   = 4 << 10
	keptSlots   = 16 << 10
	keptScratch = 64 << 10

	// long marks the fingerprint of a name that is longer than it.
	long = 1 << 63
)

// nameStack holds the names of the members of all objects that are open, to
// find one that comes twice. A small object compares the fingerprints of its
// names; a larger one looks them up in a hash table, so that the cost per name
// is constant. The hash is seeded at random for each scanner: a sender cannot
// choose names that collide.
type nameStack struct {
	names   []memberName
	scratch []byte // the names that had escapes, unescaped

	// large are the open objects whose names are in the table. slots, a power
	// of two of them, is never emptied when an object closes: a slot counts
	// only if the name it points to is one of the object in question and has
	// the same bytes, and then it is a duplicate whoever wrote the slot. What
	// closed objects left goes when the table is rebuilt.
	large []largeObject
	slots []nameSlot
	used  int
	seed  maphash.Seed
	salt  uint64
}

// memberName is where a name is: in the body, or, when negative, in scratch at
// the complement. MaxBytes is far below 2^31.
type memberName struct {
	mark  uint64
	at, n int32
}

// openObject is the part of the stack that belongs to one object.
type openObject struct {
	base, scratch int
	large         bool
}

// largeObject is an object in the hash table. salt is different for each, so
// that equal names of different objects are not neighbours in the table.
type largeObject struct {
	salt    uint64
	base, n int
}

// nameSlot points to the name at index at-1, or to none when at is 0. tag is
// the part of the hash that does not choose the slot.
type nameSlot struct {
	tag uint32
	at  int32
}

func newNameStack() nameStack {
	return nameStack{seed: maphash.MakeSeed()}
}

// reset forgets all names and reports whether the memory is worth keeping.
func (t *nameStack) reset() bool {
	t.names, t.scratch, t.large = t.names[:0], t.scratch[:0], t.large[:0]
	return cap(t.names) <= keptNames && cap(t.slots) <= keptSlots && cap(t.scratch) <= keptScratch
}

func (t *nameStack) open() openObject {
	return openObject{base: len(t.names), scratch: len(t.scratch)}
}

func (t *nameStack) close(o *openObject) {
	t.names, t.scratch = t.names[:o.base], t.scratch[:o.scratch]
	if o.large {
		t.large = t.large[:len(t.large)-1]
	}
}

// unescape returns the name that raw stands for. It is valid until the object
// closes; add must follow.
func (t *nameStack) unescape(raw []byte) []byte {
	start := len(t.scratch)
	t.scratch = unescape(t.scratch, raw)
	return t.scratch[start:]
}

// add adds a name to the innermost object o and reports whether it is new
// there. The name is at start of body, or the last of scratch when unescaped.
func (t *nameStack) add(o *openObject, body []byte, start int, name []byte, mark uint64, unescaped bool) bool {
	if unescaped {
		start = ^(len(t.scratch) - len(name))
	}
	switch count := len(t.names) - o.base; {
	case count < linearNames:
		for _, other := range t.names[o.base:] {
			if other.mark == mark && (mark&long == 0 || bytes.Equal(t.bytes(body, other), name)) {
				return false
			}
		}
	case count == linearNames:
		o.large = true
		t.salt += 0x9E3779B97F4A7C15 // odd: no value comes again in 2^64 objects
		t.large = append(t.large, largeObject{salt: t.salt, base: o.base})
		for _, earlier := range t.names[o.base:] {
			t.insert(body, t.bytes(body, earlier))
		}
		fallthrough
	default:
		if !t.insert(body, name) {
			return false
		}
	}
	t.names = append(t.names, memberName{mark: mark, at: int32(start), n: int32(len(name))})
	return true
}

// bytes returns the bytes of a name.
func (t *nameStack) bytes(body []byte, n memberName) []byte {
	if n.at >= 0 {
		return body[n.at : n.at+n.n]
	}
	return t.scratch[^n.at : ^n.at+n.n]
}

// insert enters the next name of the innermost object, a large one, into the
// table, unless the object has it already.
func (t *nameStack) insert(body, name []byte) bool {
	if 2*(t.used+1) > len(t.slots) {
		t.rebuild(body)
	}
	o := &t.large[len(t.large)-1]
	hash := maphash.Bytes(t.seed, name) ^ o.salt
	tag, mask := uint32(hash>>32), uint64(len(t.slots)-1)
	for i := hash & mask; ; i = (i + 1) & mask {
		slot := t.slots[i]
		if slot.at == 0 {
			t.slots[i] = nameSlot{tag: tag, at: int32(o.base + o.n + 1)}
			t.used++
			o.n++
			return true
		}
		at := int(slot.at) - 1
		if slot.tag == tag && at >= o.base && at < o.base+o.n && bytes.Equal(t.bytes(body, t.names[at]), name) {
			return false
		}
	}
}

// rebuild makes room in the table: it is left a quarter full at most, with the
// names of the open large objects alone. The next rebuild is then as many
// names away as this one has cost, within a constant.
func (t *nameStack) rebuild(body []byte) {
	live := 0
	for _, o := range t.large {
		live += o.n
	}
	size := 8 * linearNames
	for size < 4*(live+1) {
		size *= 2
	}
	if size > cap(t.slots) {
		t.slots = make([]nameSlot, size)
	} else {
		t.slots = t.slots[:size]
		clear(t.slots)
	}
	t.used = live
	mask := uint64(size - 1)
	for _, o := range t.large {
		for at := o.base; at < o.base+o.n; at++ {
			hash := maphash.Bytes(t.seed, t.bytes(body, t.names[at])) ^ o.salt
			i := hash & mask
			for t.slots[i].at != 0 {
				i = (i + 1) & mask
			}
			t.slots[i] = nameSlot{tag: uint32(hash >> 32), at: int32(at + 1)}
		}
	}
}

// fingerprint tells most names of an object apart without a look at them. It
// is the name itself when that has fewer than eight bytes; then long is not set.
func fingerprint(name []byte) uint64 {
	n := len(name)
	if n >= 8 {
		head, tail := binary.LittleEndian.Uint64(name), binary.LittleEndian.Uint64(name[n-8:])
		return (head*0x9E3779B97F4A7C15 ^ tail ^ uint64(n)) | long
	}
	mark := uint64(n) << 56
	for i, c := range name {
		mark |= uint64(c) << (8 * i)
	}
	return mark
}
