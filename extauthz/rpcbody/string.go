package rpcbody

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// str skips the string whose content begins at i. It returns the index of the
// closing quote and whether there are escapes before it.
func (s *scanner) str(i int) (quote int, escaped bool) {
	b := s.body
	for {
		// Eight bytes at a time up to the first that needs a look.
		for len(b)-i >= 8 {
			hit := special(binary.LittleEndian.Uint64(b[i:]))
			if hit != 0 {
				i += bits.TrailingZeros64(hit) >> 3
				break
			}
			i += 8
		}
		if i >= len(b) {
			return s.fail(RuleTruncated, i), false
		}
		if c := b[i]; c == '"' {
			return i, escaped
		} else if c < ' ' {
			return s.fail(RuleControl, i), false
		} else if c != '\\' && c < utf8.RuneSelf { // among the last seven bytes of the body
			i++
			continue
		}
		// Escapes and characters beyond ASCII come in runs.
		for i < len(b) {
			c := b[i]
			if c == '\\' {
				escaped = true
				i = s.escape(i)
			} else if c >= utf8.RuneSelf {
				i = s.rune(i)
			} else {
				break
			}
			if i < 0 {
				return -1, false
			}
		}
	}
}

// special finds the bytes of a string that need a look. The lowest bit set is
// the top bit of the first byte that is above 0x7F, below 0x20, a quote or a
// backslash; of the bits above it some are set falsely, by a borrow.
func special(word uint64) uint64 {
	const ones = 0x0101010101010101
	return (word | (word - ones*' ') | ((word ^ ones*'"') - ones) | ((word ^ ones*'\\') - ones)) & (ones << 7)
}

// short finds the closing quote of a name at i that has fewer than eight bytes,
// all of them ordinary, and its fingerprint. It returns -1 for other names.
func short(b []byte, i int) (quote int, mark uint64) {
	if len(b)-i < 8 {
		return -1, 0
	}
	word := binary.LittleEndian.Uint64(b[i:])
	bit := bits.TrailingZeros64(special(word))
	n := bit >> 3
	if n > 7 || b[i+n] != '"' {
		return -1, 0
	}
	return i + n, word&(1<<(bit&^7)-1) | uint64(n)<<56
}

// rune skips the character at i, which is not ASCII.
func (s *scanner) rune(i int) int {
	b := s.body
	// Most are of two or three bytes and none of the special cases.
	if c := b[i]; len(b)-i >= 3 && b[i+1]&0xC0 == 0x80 {
		if 0xC2 <= c && c <= 0xDF {
			return i + 2
		}
		if 0xE1 <= c && c <= 0xEC && b[i+2]&0xC0 == 0x80 {
			return i + 3
		}
	}
	r, n := utf8.DecodeRune(b[i:])
	if r == utf8.RuneError && n <= 1 {
		return s.fail(RuleUTF8, i)
	}
	return i + n
}

// escape skips the escape sequence at i, or the two that make one character.
func (s *scanner) escape(i int) int {
	b := s.body
	if i+1 >= len(b) {
		return s.fail(RuleTruncated, i+1)
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
	default:
		return s.fail(RuleEscape, i)
	}
	r := s.hex(i + 2)
	if r < 0 {
		return -1
	}
	if !utf16.IsSurrogate(r) {
		return i + 6
	}
	if len(b)-i < 8 || b[i+6] != '\\' || b[i+7] != 'u' {
		return s.fail(RuleSurrogate, i)
	}
	low := s.hex(i + 8)
	if low < 0 {
		return -1
	}
	if utf16.DecodeRune(r, low) == utf8.RuneError {
		return s.fail(RuleSurrogate, i)
	}
	return i + 12
}

// hex reads the four hexadecimal digits at i.
func (s *scanner) hex(i int) rune {
	b := s.body
	for j := i; j < i+4; j++ {
		if j >= len(b) {
			s.fail(RuleTruncated, j)
			return -1
		}
		if !isHex(b[j]) {
			s.fail(RuleEscape, j)
			return -1
		}
	}
	return unhex(b[i : i+4])
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// unhex returns the value of hexadecimal digits.
func unhex(digits []byte) rune {
	var r rune
	for _, c := range digits {
		d := rune(c & 0xF) // of a digit its value, of a letter 1 to 6
		if c > '9' {
			d += 9
		}
		r = r<<4 | d
	}
	return r
}

// quoted finds the ends of the content of the string at i; another value
// breaks rule.
func (s *scanner) quoted(i int, rule string) (start, end int, escaped bool) {
	if i >= len(s.body) {
		return 0, s.fail(RuleTruncated, i), false
	}
	if s.body[i] != '"' {
		return 0, s.fail(rule, i), false
	}
	end, escaped = s.str(i + 1)
	return i + 1, end, escaped
}

// text returns the content of a string that str has skipped, or false when it
// has more than limit bytes. Without escapes it aliases the body.
func (s *scanner) text(start, end int, escaped bool, limit int) (string, bool) {
	raw := s.body[start:end]
	if !escaped {
		return alias(raw), len(raw) <= limit
	}
	// The longest escape for one byte has six.
	if len(raw) > 6*limit {
		return "", false
	}
	t := unescape(make([]byte, 0, len(raw)), raw)
	return alias(t), len(t) <= limit
}

// unescape appends to dst what raw, the content of a string that str has
// skipped, stands for. That is never longer than raw.
func unescape(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		c = raw[i+1]
		i += 2
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := unhex(raw[i : i+4])
			i += 4
			if utf16.IsSurrogate(r) {
				r = utf16.DecodeRune(r, unhex(raw[i+2:i+6]))
				i += 6
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

// alias returns p as a string without a copy. The string changes when p does.
func alias(p []byte) string {
	return unsafe.String(unsafe.SliceData(p), len(p)) //nolint:gosec // G103: the no-copy contract of Read; p does not change while the string is in use
}

// hasControl reports whether a string has a character of Unicode category Cc:
// U+0000 to U+001F, U+007F to U+009F.
func hasControl(t string) bool {
	for i := 0; i < len(t); i++ {
		c := t[i]
		if c < ' ' || c == 0x7F || c == 0xC2 && i+1 < len(t) && t[i+1] < 0xA0 {
			return true
		}
	}
	return false
}
