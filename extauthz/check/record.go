package check

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/mcpgate/mcpgate/extauthz"
)

// The effects of a Record.
const (
	// EffectAllow: the request goes to the upstream.
	EffectAllow = "allow"
	// EffectDeny: the request is refused for what it is.
	EffectDeny = "deny"
	// EffectFail: the request is refused because no decision was possible.
	EffectFail = "fail"
)

// Record is the audit record of one check. It holds no token, no secret and
// nothing of a message but its method and its target.
type Record struct {
	// Time is when the check arrived.
	Time time.Time
	// RequestID is Envoy's x-request-id, which the client gets as well.
	RequestID string
	// Server and Generation are the route's; Server is what the route says,
	// whether or not the gateway knows it.
	Server     string
	Generation int64
	// Verb is the HTTP method, Method the MCP method, Target the tool, prompt,
	// URI or task that the message names; as far as they were read.
	Verb, Method, Target string
	// Issuer, Subject and Client are the caller's, of a valid token.
	Issuer, Subject, Client string
	// Effect is EffectAllow, EffectDeny or EffectFail.
	Effect string
	// Rule made the decision. Grant is the scope that allowed it.
	Rule  extauthz.Rule
	Grant string
	// Status is the HTTP status of a refusal; 0 of an allow, and of a check that
	// ended before its answer: Envoy answers that with 503.
	Status int
	// Reason is for the operator.
	Reason string
	// Latency is from the arrival of the check to its answer.
	Latency time.Duration
}

// maxText bounds a text from outside in a line, in bytes. Method and target
// have their own bounds in the reader; a request id has none.
const maxText = 8 << 10

// AppendJSON appends the record as one JSON object, without line end. A text
// is escaped so that no reader of the line, a terminal included, takes it for
// anything else; an empty text is left out.
func (r *Record) AppendJSON(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = r.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z07:00")
	b = append(b, '"')
	b = appendMember(b, "request_id", r.RequestID)
	b = appendMember(b, "server", r.Server)
	if r.Generation != 0 {
		b = append(b, `,"generation":`...)
		b = strconv.AppendInt(b, r.Generation, 10)
	}
	b = appendMember(b, "verb", r.Verb)
	b = appendMember(b, "method", r.Method)
	b = appendMember(b, "target", r.Target)
	b = appendMember(b, "issuer", r.Issuer)
	b = appendMember(b, "subject", r.Subject)
	b = appendMember(b, "client", r.Client)
	b = appendMember(b, "effect", r.Effect)
	b = appendMember(b, "rule", string(r.Rule))
	b = appendMember(b, "grant", r.Grant)
	if r.Status != 0 {
		b = append(b, `,"status":`...)
		b = strconv.AppendInt(b, int64(r.Status), 10)
	}
	b = appendMember(b, "reason", r.Reason)
	b = append(b, `,"latency_us":`...)
	b = strconv.AppendInt(b, r.Latency.Microseconds(), 10)
	return append(b, '}')
}

func appendMember(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return appendString(b, value[:min(len(value), maxText)])
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. Control characters, DEL, the C1
// controls and the line separators are escaped; what is not UTF-8 becomes
// U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			switch {
			case c == '"' || c == '\\':
				b = append(b, '\\', c)
			case c < 0x20 || c == 0x7f:
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			default:
				b = append(b, c)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(b, `\ufffd`...)
		case r < 0xa0 || r == '\u2028' || r == '\u2029':
			b = append(b, '\\', 'u', hexDigits[r>>12], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return append(b, '"')
}
