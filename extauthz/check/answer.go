package check

import (
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
)

// answer is a CheckResponse in wire form and what the record says of it. Only
// allow, deny and fail make one; the zero answer is none.
type answer struct {
	wire   []byte
	effect string
	rule   extauthz.Rule
	grant  string
	status int
	reason string
}

func (a *answer) decided() bool { return a != nil && len(a.wire) > 0 }

// deny refuses the request for what it is. The rule says with which status; a
// rule without a usable one is a fault of ours.
func (s *Server) deny(e *exchange, d extauthz.Decision) *answer {
	a := d.Rule.Answer()
	challenge := d.Challenge(e.policy)
	status := a.Status
	switch {
	case status >= http.StatusInternalServerError:
		return s.fail(e, d.Rule, d.Reason)
	case d.Allow || status < http.StatusOK || challenge != "" && !isHeaderText(challenge):
		return s.fail(e, extauthz.RuleInternal, "no answer for rule "+string(d.Rule))
	}
	if s.denialJSONRPC && a.Denial && status == http.StatusForbidden && e.message.Kind == rpcbody.Request {
		status = http.StatusOK
	}
	var buf [4]pair
	set := append(buf[:0], pair{"cache-control", "no-store"})
	if challenge != "" {
		set = append(set, pair{"www-authenticate", challenge})
	}
	if a.Allow != "" {
		set = append(set, pair{"allow", a.Allow})
	}
	var body []byte
	if status != http.StatusNoContent && status != http.StatusNotModified {
		set = append(set, pair{nameContentType, typeJSON})
		body = errorBody(e.id, a, d.Data)
	}
	code := codes.PermissionDenied
	if status == http.StatusUnauthorized {
		code = codes.Unauthenticated
	}
	return &answer{
		wire:   encodeDenied(code, status, set, body, e.denialMetadata(d.Rule)),
		effect: EffectDeny,
		rule:   d.Rule,
		status: status,
		reason: d.Reason,
	}
}

// fail refuses because no decision is possible: 503, to be tried again, or
// 502 where another server has decided and another try is of no use.
func (s *Server) fail(e *exchange, rule extauthz.Rule, reason string) *answer {
	a := rule.Answer()
	if a.Status != http.StatusServiceUnavailable && a.Status != http.StatusBadGateway {
		a = extauthz.RuleInternal.Answer()
	}
	var buf [3]pair
	set := append(buf[:0], pair{"cache-control", "no-store"}, pair{nameContentType, typeJSON})
	if a.Status == http.StatusServiceUnavailable {
		set = append(set, pair{"retry-after", strconv.Itoa(max(a.RetryAfter, 1))})
	}
	return &answer{
		wire:   encodeDenied(codes.Unavailable, a.Status, set, errorBody(e.id, a, ""), e.denialMetadata(rule)),
		effect: EffectFail,
		rule:   rule,
		status: a.Status,
		reason: reason,
	}
}

// denialMetadata is the dynamic metadata of a refusal, for the access log.
func (e *exchange) denialMetadata(rule extauthz.Rule) []pair {
	m := []pair{{"rule", string(rule)}, {"server", strings.ToValidUTF8(e.server, "")}}
	if e.message.Method != "" {
		m = append(m, pair{"method", e.message.Method})
	}
	return m
}

// errorBody is a JSON-RPC error. An id that was not read is null; data is JSON,
// empty for none.
func errorBody(id string, a extauthz.Answer, data string) []byte {
	if id == "" {
		id = "null"
	}
	b := make([]byte, 0, 96+len(id)+len(a.Message)+len(data))
	b = append(b, `{"jsonrpc":"2.0","id":`...)
	b = append(b, id...)
	b = append(b, `,"error":{"code":`...)
	b = strconv.AppendInt(b, int64(a.Code), 10)
	b = append(b, `,"message":`...)
	b = appendString(b, a.Message)
	if data != "" {
		b = append(b, `,"data":`...)
		b = append(b, data...)
	}
	return append(b, '}', '}')
}
