package rpcbody

import (
	"strings"
	"sync"
)

// scanners keeps scanners between messages, so that an ordinary message needs
// no memory of its own. A scanner in the pool refers to no body.
var scanners = sync.Pool{New: func() any { return newScanner() }}

// Read is Limits.Read with the default limits.
func Read(body []byte, m *Message) error { return Limits{}.Read(body, m) }

// Read reads the one message that body holds into m. What m held before is
// lost. The error is nil or an *Error; after an error m is empty, so that
// nothing of a refused body can be acted upon.
//
// The strings of m alias body unless they had escapes in them: body must stay
// unchanged while m is in use.
func (l Limits) Read(body []byte, m *Message) error {
	clear(m.Resources)
	clear(m.TaskIDs)
	*m = Message{Resources: m.Resources[:0], TaskIDs: m.TaskIDs[:0]}

	s, _ := scanners.Get().(*scanner)
	s.begin(body, m, l.orDefault())
	s.message()
	var err *Error
	if s.rule != "" {
		err = &Error{Rule: s.rule, Offset: s.at, ID: strings.Clone(s.replyID)}
	}
	if s.end() {
		scanners.Put(s)
	}
	if err != nil {
		*m = Message{}
		return err
	}
	return nil
}

// message reads the whole body.
func (s *scanner) message() {
	b := s.body
	switch {
	case len(b) > MaxBytes:
		s.fail(RuleSize, MaxBytes)
		return
	case len(b) >= 3 && b[0] == 0xEF && b[1] == 0xBB && b[2] == 0xBF:
		s.fail(RuleBOM, 0)
		return
	// A message begins with an ASCII character. Of the two bytes that begin it
	// in UTF-16 and UTF-32 one at least is NUL, unless a byte order mark does.
	case len(b) >= 2 && (b[0] == 0 || b[1] == 0 || b[0] == 0xFE && b[1] == 0xFF || b[0] == 0xFF && b[1] == 0xFE):
		s.fail(RuleEncoding, 0)
		return
	}
	i := s.space(0)
	if i == len(b) {
		s.fail(RuleEmpty, i)
		return
	}
	switch c := b[i]; {
	case c == '[':
		s.fail(RuleBatch, i)
		return
	case c == '/':
		s.fail(RuleComment, i)
		return
	case c >= 0x80:
		s.unexpected(i)
		return
	case c != '{':
		s.fail(RuleNotObject, i)
		return
	}
	i = s.object(i+1, 1, (*scanner).envelope)
	if i < 0 {
		return
	}
	if i = s.space(i); i < len(b) {
		s.fail(RuleTrailing, i)
		return
	}
	s.classify(i)
}

// classify finds the kind of the message from the members that are there.
func (s *scanner) classify(end int) {
	m := s.m
	hasMethod := m.Method != ""
	switch {
	case !s.hasJSONRPC:
		s.fail(RuleJSONRPC, end)
	case hasMethod && (s.hasResult || s.hasError), s.hasResult && s.hasError:
		s.fail(RuleMixed, end)
	case hasMethod && !s.hasID:
		m.Kind = Notification
		if m.Method == "tools/call" {
			s.fail(RuleCallWithoutID, end)
		}
	case hasMethod:
		m.Kind = Request
		if s.replyID == "" {
			s.fail(RuleIDNull, end)
		}
	case !s.hasResult && !s.hasError:
		s.fail(RuleNoMethod, end)
	case !s.hasID:
		s.fail(RuleResponseID, end)
	default:
		m.Kind = Response
		// JSON-RPC 2.0 §5: null answers a request whose id could not be read,
		// which can only be an error.
		if s.replyID == "" && !s.hasError {
			s.fail(RuleIDNull, end)
		}
	}
}
