package extauthz

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
)

// The markers of a header value that is base64 (RFC 4648 section 4) of UTF-8,
// because it holds what a header cannot. They are case-sensitive.
const (
	encodedStart = "=?base64?"
	encodedEnd   = "?="
)

// decodeMirrored is the value that a mirrored header stands for; ok is false
// for a marked value that does not decode.
func decodeMirrored(value string) (decoded string, ok bool) {
	rest, marked := strings.CutPrefix(value, encodedStart)
	if !marked {
		return value, true
	}
	text, marked := strings.CutSuffix(rest, encodedEnd)
	if !marked {
		return value, true
	}
	// Decode skips line breaks, which no encoder of a header writes.
	if strings.ContainsAny(text, "\r\n") {
		return "", false
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || !utf8.Valid(b) {
		return "", false
	}
	return string(b), true
}

// repeats reports whether the header, decoded, is the value, byte for byte.
func repeats(header rpcbody.Field, value string) bool {
	decoded, ok := decodeMirrored(header.Value)
	return ok && decoded == value
}

// version finds the versions that the message can be of: the one it states, or
// every legacy one when it states none. A rule is returned when the statements
// are refused.
func (r *Request) version() (v Versions, refused Rule) {
	header, m := r.Mirrored.Version, r.Message
	if m != nil && m.MetaVersion.Present {
		switch v, known := ParseVersion(m.MetaVersion.Value); {
		case !header.Present:
			return 0, RuleMirrorMissing
		case header.Value != m.MetaVersion.Value:
			return 0, RuleMirrorMismatch
		case !known || v&Modern == 0:
			return 0, RuleVersionUnsupported
		default:
			return v, ""
		}
	}
	if !header.Present {
		return Legacy, ""
	}
	v, known := ParseVersion(header.Value)
	switch {
	case !known:
		return 0, RuleVersionUnsupported
	case v&Modern == 0 || m == nil:
		return v, ""
	}
	switch m.Kind {
	case rpcbody.Request:
		return 0, RuleMetaMissing
	case rpcbody.Response:
		return 0, RuleResponseModern
	case rpcbody.Notification:
		// What little a modern client notifies over HTTP need not carry _meta.
	}
	return v, ""
}

// mirrors judges Mcp-Method and Mcp-Name against the message.
func (r *Request) mirrors(meth Method, modern bool) (refused Rule) {
	m := r.Message
	switch h := r.Mirrored.Method; {
	case h.Present && (m.Method == "" || !repeats(h, m.Method)):
		return RuleMirrorMismatch
	case !h.Present && modern:
		return RuleMirrorMissing
	}
	switch h := r.Mirrored.Name; {
	case h.Present && !repeatsName(h, meth, m):
		return RuleMirrorMismatch
	case !h.Present && modern && meth.NameRequired:
		return RuleMirrorMissing
	}
	return ""
}

// repeatsName reports whether Mcp-Name agrees with what the message names. A
// message that names nothing, or several things, agrees with no name.
func repeatsName(h rpcbody.Field, meth Method, m *rpcbody.Message) bool {
	same := func(f rpcbody.Field) bool { return f.Present && repeats(h, f.Value) }
	switch meth.Target {
	case TargetName:
		return same(m.Name)
	case TargetURI:
		return same(m.URI)
	case TargetTask:
		return same(m.TaskID)
	case TargetRef:
		return same(m.Ref.Name) && !m.Ref.URI.Present || same(m.Ref.URI) && !m.Ref.Name.Present
	case NoTarget:
		// Only of a method that `methods` governs is it unknown what it names.
		return meth.Grant == GrantMethods && (same(m.Name) || same(m.URI) || same(m.TaskID))
	case TargetSubscriptions:
	}
	return false
}

// describeMirrored names the headers and the method for the operator.
func (r *Request) describeMirrored() string {
	method := "no message"
	switch m := r.Message; {
	case m != nil && m.Kind == rpcbody.Response:
		method = "a response"
	case m != nil:
		method = fmt.Sprintf("method %q", m.Method)
	}
	return fmt.Sprintf("Mcp-Method %s, Mcp-Name %s, %s", quote(r.Mirrored.Method), quote(r.Mirrored.Name), method)
}

// describeVersion names the versions stated for the operator.
func (r *Request) describeVersion() string {
	var meta rpcbody.Field
	if r.Message != nil {
		meta = r.Message.MetaVersion
	}
	return fmt.Sprintf("MCP-Protocol-Version %s, _meta %s", quote(r.Mirrored.Version), quote(meta))
}

func quote(f rpcbody.Field) string {
	if !f.Present {
		return "absent"
	}
	return strconv.Quote(f.Value)
}
