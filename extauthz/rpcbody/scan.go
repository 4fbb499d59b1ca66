package rpcbody

import "encoding/binary"

// The last four letters of the literals, as a little-endian number.
const (
	trueTail  = 't' | 'r'<<8 | 'u'<<16 | 'e'<<24
	falseTail = 'a' | 'l'<<8 | 's'<<16 | 'e'<<24
	nullTail  = 'n' | 'u'<<8 | 'l'<<16 | 'l'<<24
)

// scanner is the state of one reading. Its methods take the index at which to
// read and return the index behind what they have read, or a negative number
// when a rule is broken; rule and at then say which and where.
type scanner struct {
	body   []byte
	m      *Message
	limits Limits

	rule string
	at   int

	// replyID is the raw id once an acceptable one that is not null was read.
	replyID                                string
	hasID, hasJSONRPC, hasResult, hasError bool

	// nameAt is where the member that a visitor is called for has its name.
	nameAt int
	names  nameStack
}

func newScanner() *scanner {
	return &scanner{names: newNameStack()}
}

func (s *scanner) begin(body []byte, m *Message, l Limits) {
	s.body, s.m, s.limits = body, m, l
}

// end lets go of the body and reports whether the scanner is worth keeping.
func (s *scanner) end() bool {
	*s = scanner{names: s.names}
	return s.names.reset()
}

// fail records the broken rule. The first one stands.
func (s *scanner) fail(rule string, i int) int {
	if s.rule == "" {
		s.rule, s.at = rule, i
	}
	return -1
}

// refail gives a broken rule about a member its more telling name.
func (s *scanner) refail(rule string) int {
	switch s.rule {
	case RuleMemberType, RuleMemberLength, RuleMemberControl:
		s.rule = rule
	}
	return -1
}

// space skips white space.
func (s *scanner) space(i int) int {
	b := s.body
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// value skips the value at i of an array or object at the given depth.
func (s *scanner) value(i, depth int) int {
	b := s.body
	if i >= len(b) {
		return s.fail(RuleTruncated, i)
	}
	switch c := b[i]; c {
	case '"':
		end, _ := s.str(i + 1)
		if end < 0 {
			return -1
		}
		return end + 1
	case '{':
		return s.object(i+1, depth+1, nil)
	case '[':
		return s.array(i+1, depth+1)
	case 't':
		return s.literal(i, "true", trueTail)
	case 'f':
		return s.literal(i, "false", falseTail)
	case 'n':
		return s.literal(i, "null", nullTail)
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return s.number(i)
	case '+', '.':
		return s.fail(RuleNumber, i)
	default:
		if isWord(c) {
			return s.fail(RuleLiteral, i)
		}
		return s.unexpected(i)
	}
}

// object reads the members behind the brace before i. With a visitor it reads
// the values of a known object, without one it skips them.
func (s *scanner) object(i, depth int, visit visitor) int {
	if depth > s.limits.Depth {
		return s.fail(RuleDepth, i-1)
	}
	b := s.body
	i = s.space(i)
	if i < len(b) && b[i] == '}' {
		return i + 1
	}
	f := s.names.open()
	for {
		if i >= len(b) || b[i] != '"' {
			return s.notName(i)
		}
		start := i + 1
		end, mark := short(b, start)
		escaped := false
		var name []byte
		if end >= 0 {
			name = b[start:end]
		} else {
			if end, escaped = s.str(start); end < 0 {
				return -1
			}
			if name = b[start:end]; escaped {
				name = s.names.unescape(name)
			}
			mark = fingerprint(name)
		}
		if !s.names.add(&f, b, start, name, mark, escaped) {
			if depth == 1 && string(name) == "id" {
				s.replyID = "" // which of the two is not known
			}
			return s.fail(RuleDuplicate, i)
		}

		i = end + 1
		if i < len(b) && b[i] != ':' {
			i = s.space(i)
		}
		if i >= len(b) || b[i] != ':' {
			return s.unexpected(i)
		}
		if i++; i < len(b) && b[i] <= ' ' {
			i = s.space(i)
		}
		if visit == nil {
			i = s.value(i, depth)
		} else {
			s.nameAt = start - 1
			i = visit(s, alias(name), i, depth)
		}
		if i < 0 {
			return -1
		}

		if i < len(b) && b[i] <= ' ' {
			i = s.space(i)
		}
		switch {
		case i < len(b) && b[i] == ',':
			if i++; i < len(b) && b[i] <= ' ' {
				i = s.space(i)
			}
		case i < len(b) && b[i] == '}':
			s.names.close(&f)
			return i + 1
		default:
			return s.unexpected(i)
		}
	}
}

// array skips the elements behind the bracket before i.
func (s *scanner) array(i, depth int) int {
	if depth > s.limits.Depth {
		return s.fail(RuleDepth, i-1)
	}
	b := s.body
	i = s.space(i)
	if i < len(b) && b[i] == ']' {
		return i + 1
	}
	for {
		if i = s.value(i, depth); i < 0 {
			return -1
		}
		if i < len(b) && b[i] <= ' ' {
			i = s.space(i)
		}
		switch {
		case i < len(b) && b[i] == ',':
			if i++; i < len(b) && b[i] <= ' ' {
				i = s.space(i)
			}
		case i < len(b) && b[i] == ']':
			return i + 1
		default:
			return s.unexpected(i)
		}
	}
}

// literal reads the word at i, whose first letter is right.
func (s *scanner) literal(i int, word string, tail uint32) int {
	b := s.body
	end := i + len(word)
	// The last four letters tell: the first one is right already.
	if end < len(b) && binary.LittleEndian.Uint32(b[end-4:]) == tail && !isWord(b[end]) {
		return end
	}
	// A literal is never the end of a message.
	if rest := b[i:]; len(rest) <= len(word) && string(rest) == word[:len(rest)] {
		return s.fail(RuleTruncated, len(b))
	}
	return s.fail(RuleLiteral, i)
}

// number reads the number at i, which begins with a digit or a minus.
func (s *scanner) number(i int) int {
	b := s.body
	begin := i
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = s.digits(i); i < 0 {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		if i = s.digits(i + 1); i < 0 {
			return -1
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if i = s.digits(i); i < 0 {
			return -1
		}
	}
	if i < len(b) && (isWord(b[i]) || b[i] == '.' || b[i] == '-' || b[i] == '+') {
		return s.fail(RuleNumber, begin)
	}
	return i
}

// digits skips one or more digits.
func (s *scanner) digits(i int) int {
	b := s.body
	begin := i
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	switch {
	case i > begin:
		return i
	case i == len(b):
		return s.fail(RuleTruncated, i)
	}
	return s.fail(RuleNumber, i)
}

// notName gives the rule that is broken where a member name should begin.
func (s *scanner) notName(i int) int {
	if i < len(s.body) && s.body[i] == '}' {
		return s.fail(RuleComma, i)
	}
	return s.unexpected(i)
}

// unexpected gives the rule that is broken by the byte at i, which the grammar
// has no place for.
func (s *scanner) unexpected(i int) int {
	if i >= len(s.body) {
		return s.fail(RuleTruncated, i)
	}
	switch c := s.body[i]; {
	case c >= 0x80:
		if s.rune(i) < 0 {
			return -1
		}
	case c == '/' || c == '#':
		return s.fail(RuleComment, i)
	case c == ',':
		return s.fail(RuleComma, i)
	case c == ']' || c == '}':
		// Behind a comma it is the comma that is wrong.
		for j := i - 1; j >= 0; j-- {
			if s.body[j] == ',' {
				return s.fail(RuleComma, i)
			}
			if s.body[j] > ' ' {
				break
			}
		}
	}
	return s.fail(RuleSyntax, i)
}

// isWord reports whether c is an ASCII letter, a digit or an underscore.
func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}
