package listfilter

import (
	"bytes"
	"encoding/binary"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxDepth bounds the nesting of arrays and objects. JSON Schemas in tool
	// lists use two levels for each level of their subject.
	maxDepth = 256
	// maxNames bounds the names of all objects that are open at one point of
	// the text, and with them the memory that the search for duplicates takes.
	maxNames = 16384
	// linearNames is how many names of one object are compared one by one
	// before a map takes over.
	linearNames = 16
)

// scanner reads one JSON text (RFC 8259) without building values: its methods
// check and step over what stands at pos. It is stricter than the RFC where
// two readers could differ: duplicate names and lone surrogates are refused.
// The text must be valid UTF-8; the caller checks that once for the whole.
//
// It exists beside jsontext, which accepts the same texts (a test holds the
// two against each other), for its speed and because its memory is bounded
// whatever the text.
type scanner struct {
	data []byte
	pos  int
	// names are the names of the open objects, innermost last.
	names []text
	// lax passes over what stands in values that nobody reads: duplicate names
	// and lone surrogates.
	lax bool
}

// text is a string of the JSON text, by the offsets of its content between the
// quotes.
type text struct {
	start, end int
	// escaped is true if the content has escapes.
	escaped bool
}

// next steps over white space and returns the byte that follows, 0 at the end.
func (s *scanner) next() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// end reports an error if anything but white space follows.
func (s *scanner) end() error {
	s.next()
	if s.pos < len(s.data) {
		return reasonSyntax
	}
	return nil
}

// value steps over one value that stands inside depth arrays and objects.
func (s *scanner) value(depth int) error {
	switch c := s.next(); {
	case c == '"':
		_, err := s.text()
		return err
	case c == '{':
		return s.object(depth, nil)
	case c == '[':
		return s.array(depth, nil)
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	}
	return reasonSyntax
}

// object steps over the object at pos. For each member it calls member with
// the name and its offset (that of the quote); member steps over the value,
// which stands at pos. A nil member steps over all values.
func (s *scanner) object(depth int, member func(name text, start int) error) error {
	if depth >= maxDepth {
		return reasonDepth
	}
	s.pos++
	first := len(s.names)
	defer func() { s.names = s.names[:first] }()
	var seen map[string]struct{}
	if s.next() == '}' {
		s.pos++
		return nil
	}
	for {
		if s.next() != '"' {
			return reasonSyntax
		}
		start := s.pos
		name, err := s.text()
		if err != nil {
			return err
		}
		if member != nil || !s.lax {
			if seen, err = s.remember(first, name, seen); err != nil {
				return err
			}
		}
		if s.next() != ':' {
			return reasonSyntax
		}
		s.pos++
		s.next()
		if member != nil {
			err = member(name, start)
		} else {
			err = s.value(depth + 1)
		}
		if err != nil {
			return err
		}
		switch s.next() {
		case ',':
			s.pos++
		case '}':
			s.pos++
			return nil
		default:
			return reasonSyntax
		}
	}
}

// remember adds name to the names of the innermost object, which start at
// first. The map takes over from the list in a large object.
func (s *scanner) remember(first int, name text, seen map[string]struct{}) (map[string]struct{}, error) {
	mine := s.names[first:]
	switch {
	case len(s.names) >= maxNames:
		return seen, reasonNames
	case len(mine) < linearNames:
		for _, n := range mine {
			if s.equal(n, name) {
				return seen, reasonDuplicate
			}
		}
	default:
		if seen == nil {
			seen = make(map[string]struct{}, 2*linearNames)
			for _, n := range mine {
				seen[string(s.unescaped(n))] = struct{}{}
			}
		}
		key := string(s.unescaped(name))
		if _, ok := seen[key]; ok {
			return seen, reasonDuplicate
		}
		seen[key] = struct{}{}
	}
	s.names = append(s.names, name)
	return seen, nil
}

// array steps over the array at pos. For each element it calls element, which
// steps over it; a nil element steps over all.
func (s *scanner) array(depth int, element func() error) error {
	if depth >= maxDepth {
		return reasonDepth
	}
	s.pos++
	if s.next() == ']' {
		s.pos++
		return nil
	}
	for {
		s.next()
		var err error
		if element != nil {
			err = element()
		} else {
			err = s.value(depth + 1)
		}
		if err != nil {
			return err
		}
		switch s.next() {
		case ',':
			s.pos++
		case ']':
			s.pos++
			return nil
		default:
			return reasonSyntax
		}
	}
}

// text steps over the string at pos.
func (s *scanner) text() (text, error) {
	s.pos++
	t := text{start: s.pos}
	for {
		s.pos = plainEnd(s.data, s.pos)
		if s.pos >= len(s.data) || s.data[s.pos] < ' ' {
			return text{}, reasonSyntax
		}
		if s.data[s.pos] == '"' {
			t.end = s.pos
			s.pos++
			return t, nil
		}
		t.escaped = true
		if err := s.escape(); err != nil {
			return text{}, err
		}
	}
}

// plainEnd returns the offset of the first byte at or after i that ends a run
// of plain characters of a string: a quote, a backslash or a control.
func plainEnd(data []byte, i int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(data); i += 8 {
		// A top bit stays where a byte is below 0x20 or equal to one of the
		// two: eight bytes at once, as lists are mostly descriptions.
		w := binary.LittleEndian.Uint64(data[i:])
		q, b := w^(ones*'"'), w^(ones*'\\')
		if ((w-ones*' ')&^w|(q-ones)&^q|(b-ones)&^b)&tops != 0 {
			break
		}
	}
	for i < len(data) && data[i] >= ' ' && data[i] != '"' && data[i] != '\\' {
		i++
	}
	return i
}

// escape steps over the escape at pos, a surrogate pair as one.
func (s *scanner) escape() error {
	if s.pos+1 >= len(s.data) {
		return reasonSyntax
	}
	switch s.data[s.pos+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos += 2
		return nil
	}
	unit, ok := s.unit()
	if ok && s.lax {
		return nil
	}
	if !ok || 0xDC00 <= unit && unit <= 0xDFFF {
		return reasonSyntax
	}
	if 0xD800 <= unit && unit <= 0xDBFF {
		if low, ok := s.unit(); !ok || low < 0xDC00 || low > 0xDFFF {
			return reasonSyntax
		}
	}
	return nil
}

// unit steps over \uXXXX and returns the UTF-16 code unit.
func (s *scanner) unit() (uint16, bool) {
	if len(s.data)-s.pos < 6 || s.data[s.pos] != '\\' || s.data[s.pos+1] != 'u' {
		return 0, false
	}
	var unit uint16
	for _, c := range s.data[s.pos+2 : s.pos+6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		unit = unit<<4 | uint16(c)
	}
	s.pos += 6
	return unit, true
}

// number steps over the number at pos.
func (s *scanner) number() error {
	if s.data[s.pos] == '-' {
		s.pos++
	}
	if s.pos < len(s.data) && s.data[s.pos] == '0' {
		s.pos++
	} else if !s.digits() {
		return reasonSyntax
	}
	if s.pos < len(s.data) && s.data[s.pos] == '.' {
		s.pos++
		if !s.digits() {
			return reasonSyntax
		}
	}
	if s.pos < len(s.data) && s.data[s.pos]|0x20 == 'e' {
		s.pos++
		if s.pos < len(s.data) && (s.data[s.pos] == '+' || s.data[s.pos] == '-') {
			s.pos++
		}
		if !s.digits() {
			return reasonSyntax
		}
	}
	return nil
}

// digits steps over digits and reports whether there was one.
func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
		return reasonSyntax
	}
	s.pos += len(word)
	return nil
}

// raw is the content of t as it stands in the text.
func (s *scanner) raw(t text) []byte { return s.data[t.start:t.end] }

// unescaped is the content of t as a reader of JSON sees it.
func (s *scanner) unescaped(t text) []byte {
	if !t.escaped {
		return s.raw(t)
	}
	// The string was checked when it was read: there is no error to come.
	b, err := jsontext.AppendUnquote(nil, s.data[t.start-1:t.end+1])
	if err != nil {
		return s.raw(t)
	}
	return b
}

func (s *scanner) equal(a, b text) bool {
	if !a.escaped && !b.escaped {
		return bytes.Equal(s.raw(a), s.raw(b))
	}
	return bytes.Equal(s.unescaped(a), s.unescaped(b))
}
