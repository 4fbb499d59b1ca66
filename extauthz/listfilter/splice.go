package listfilter

import (
	"bytes"
	"iter"
	"strings"
	"unicode/utf8"
)

// list is one of the four lists of MCP whose items a caller may be unable to
// see.
type list int

// The lists. anyList stands for all of them where the method is not known.
const (
	anyList list = iota - 1
	tools
	prompts
	resources
	resourceTemplates
)

// The members that are read, by the object they stand in. A list's member of
// the result stands at its own index, as does the member that names its items.
var (
	envelopeNames = [...]string{"result", "error", "method", "id"}
	resultNames   = [...]string{"tools", "prompts", "resources", "resourceTemplates", "cacheScope"}
	itemNames     = [...]string{"name", "uri", "uriTemplate"}
	itemName      = [...]int{tools: 0, prompts: 0, resources: 1, resourceTemplates: 2}
)

const (
	envelopeResult = iota
	envelopeError
	envelopeMethod
	envelopeID
)

// cacheScope is the index of its name in resultNames.
const cacheScope = 4

// private is what cacheScope becomes: a list that depends on the caller must
// not be shared between access tokens (MCP 2026-07-28, caching).
const private = `"private"`

// filter says which items of one list the caller may see.
type filter interface {
	// All is true for a caller that may see every item.
	All() bool
	// Allows says whether the caller may see the item of that name, URI or URI
	// template.
	Allows(name string) bool
}

// message is one JSON-RPC message of a server and what to change in it.
type message struct {
	data []byte
	// edits are in order and do not overlap.
	edits []edit
	// id is the raw JSON of `id`, nil without one.
	id []byte
	// method, result and failed say which members there are; exactly one of
	// method or a reply's result or error.
	method, result, failed bool
}

// edit replaces data[start:end].
type edit struct {
	start, end int
	with       string
}

// pieces yields the message with its edits, as spans of the original.
func (m *message) pieces() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		pos := 0
		for _, e := range m.edits {
			if e.start > pos && !yield(m.data[pos:e.start]) {
				return
			}
			if e.with != "" && !yield([]byte(e.with)) {
				return
			}
			pos = e.end
		}
		if pos < len(m.data) {
			yield(m.data[pos:])
		}
	}
}

// splicer reads replies and marks what the caller must not see.
type splicer struct {
	// own is the list that the method asks for; the others have no place in
	// its reply. anyList, for a replay, filters each list by its own kind.
	own list
	// visible returns what the caller sees of a list at this moment.
	visible func(list) (filter, error)
	// maxItems bounds the items of one list.
	maxItems int
}

// read reads one JSON-RPC message. Its error is a reason, or what visible
// returned.
func (p *splicer) read(data []byte) (*message, error) {
	r := &reading{splicer: p, scanner: scanner{data: data}, message: message{data: data}}
	if err := r.whole(); err != nil {
		return nil, err
	}
	return &r.message, nil
}

// reading is the one pass over a message.
type reading struct {
	*splicer
	scanner
	message message
	// starts, unless nil, is what is read of the result in place of lists.
	starts *starts
}

// whole reads the message.
func (r *reading) whole() error {
	if !utf8.Valid(r.data) {
		return reasonSyntax
	}
	return r.envelope()
}

func (r *reading) envelope() error {
	switch r.next() {
	case '{':
	case '[':
		// A batch of 2025-03-26: valid JSON, but no reply to a single request.
		return reasonShape
	default:
		return reasonSyntax
	}
	err := r.object(0, func(name text, _ int) error {
		member, err := r.find(name, envelopeNames[:])
		if err != nil {
			return err
		}
		switch member {
		case envelopeResult:
			r.message.result = true
			if r.starts != nil {
				return r.start()
			}
			return r.result()
		case envelopeID:
			r.message.id, err = r.rawValue(1)
			return err
		case envelopeMethod:
			r.message.method = true
		case envelopeError:
			r.message.failed = true
		}
		return r.value(1)
	})
	if err != nil {
		return err
	}
	kinds := 0
	for _, is := range []bool{r.message.method, r.message.result, r.message.failed} {
		if is {
			kinds++
		}
	}
	if kinds != 1 {
		return reasonShape
	}
	return r.end()
}

// result reads the result of a reply.
func (r *reading) result() error {
	if r.next() != '{' {
		return reasonShape
	}
	c := cutter{edits: &r.message.edits}
	err := r.object(1, func(name text, start int) error {
		member, err := r.find(name, resultNames[:])
		if err != nil {
			return err
		}
		if member >= 0 && member < cacheScope {
			keep, err := r.belongs(list(member))
			if err != nil {
				return err
			}
			if !keep {
				err := r.value(2)
				c.drop(start, r.pos)
				return err
			}
		}
		c.keep(start)
		switch {
		case member == cacheScope:
			err = r.cacheScope()
		case member >= 0:
			err = r.items(list(member))
		default:
			err = r.value(2)
		}
		c.kept(r.pos)
		return err
	})
	c.close()
	return err
}

// belongs says whether list l may stand in the reply: a list that the method
// does not ask for is hidden unless the caller may use everything.
func (r *reading) belongs(l list) (bool, error) {
	if r.own == anyList || r.own == l {
		return true, nil
	}
	for l := tools; l <= resourceTemplates; l++ {
		f, err := r.visible(l)
		if err != nil {
			return false, err
		}
		if !f.All() {
			return false, nil
		}
	}
	return true, nil
}

// items reads a list and cuts the items that the caller may not see, those
// without a name among them.
func (r *reading) items(l list) error {
	if r.next() != '[' {
		return reasonShape
	}
	f, err := r.visible(l)
	if err != nil {
		return err
	}
	all := f.All()
	count := 0
	c := cutter{edits: &r.message.edits}
	err = r.array(2, func() error {
		if count++; count > r.maxItems {
			return reasonItems
		}
		start := r.pos
		name, named, err := r.item(l)
		if err != nil {
			return err
		}
		if all || named && f.Allows(string(r.unescaped(name))) {
			c.keep(start)
			c.kept(r.pos)
		} else {
			c.drop(start, r.pos)
		}
		return nil
	})
	c.close()
	return err
}

// item reads one item and returns the string that names it.
func (r *reading) item(l list) (name text, named bool, err error) {
	if r.next() != '{' {
		return text{}, false, r.value(3)
	}
	err = r.object(3, func(member text, _ int) error {
		which, err := r.find(member, itemNames[:])
		if err != nil {
			return err
		}
		if which == itemName[l] && r.next() == '"' {
			named = true
			name, err = r.text()
			return err
		}
		return r.value(4)
	})
	return name, named, err
}

// cacheScope makes the value that follows private.
func (r *reading) cacheScope() error {
	r.next()
	start := r.pos
	raw, err := r.rawValue(2)
	if err == nil && string(raw) != private {
		r.message.edits = append(r.message.edits, edit{start, r.pos, private})
	}
	return err
}

// rawValue steps over one value and returns its bytes.
func (r *reading) rawValue(depth int) ([]byte, error) {
	r.next()
	start := r.pos
	err := r.value(depth)
	return r.data[start:r.pos], err
}

// find returns the index of name in names, -1 if it is none of them. A name
// that only folds to one of them is an error: there are readers of JSON that
// ignore case, and they would see another message than we do.
func (r *reading) find(name text, names []string) (int, error) {
	b := r.unescaped(name)
	for i, want := range names {
		if string(b) == want {
			return i, nil
		}
	}
	if len(b) == 0 {
		return -1, nil
	}
	for _, want := range names {
		// Only a letter that folds to the first one needs the whole comparison.
		if (b[0]|0x20 == want[0]|0x20 || b[0] >= utf8.RuneSelf) && strings.EqualFold(string(b), want) {
			return -1, reasonFolded
		}
	}
	return -1, nil
}

// cutter turns the elements that are dropped from an array or an object into
// edits, with one comma for each. Elements are reported in order.
type cutter struct {
	edits *[]edit
	// run is true while the last elements are to be dropped: those from
	// runStart to runEnd.
	run              bool
	runStart, runEnd int
	// lastKept is the end of the last element that stays, 0 for none.
	lastKept int
}

// drop takes out the element from start to end.
func (c *cutter) drop(start, end int) {
	if !c.run {
		c.run, c.runStart = true, start
	}
	c.runEnd = end
}

// keep says that an element that stays begins at start. It comes before the
// edits inside that element, so that all edits are in order.
func (c *cutter) keep(start int) {
	if !c.run {
		return
	}
	c.run = false
	if c.lastKept > 0 {
		c.cut(c.lastKept, c.runEnd)
	} else {
		c.cut(c.runStart, start)
	}
}

// kept says that the element that stays ends at end.
func (c *cutter) kept(end int) { c.lastKept = end }

// close is called after the last element.
func (c *cutter) close() {
	if !c.run {
		return
	}
	if c.lastKept > 0 {
		c.cut(c.lastKept, c.runEnd)
	} else {
		c.cut(c.runStart, c.runEnd)
	}
}

func (c *cutter) cut(start, end int) { *c.edits = append(*c.edits, edit{start: start, end: end}) }

// sameID reports whether two raw JSON-RPC ids are the same: strings by what
// they stand for, as encoders differ in what they escape, anything else byte
// for byte.
func sameID(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	if a[0] != '"' || b[0] != '"' {
		return bytes.Equal(a, b)
	}
	s, t := scanner{data: a}, scanner{data: b}
	x, errX := s.text()
	y, errY := t.text()
	return errX == nil && errY == nil && s.end() == nil && t.end() == nil &&
		bytes.Equal(s.unescaped(x), t.unescaped(y))
}
