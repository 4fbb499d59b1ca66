package check

import (
	"strings"
	"time"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
)

// exchange is one check on its way to an answer: what was asked, and what has
// been found out about it. Only one goroutine uses it.
type exchange struct {
	view
	// malformed is why the view could not be read.
	malformed error
	start     time.Time
	// overload: it came when as many checks were under way as may be.
	overload bool

	policy *extauthz.ServerPolicy
	caller *extauthz.Caller
	// token is the verified token of the caller, for an exchange and for nothing
	// else.
	token   string
	message rpcbody.Message
	// recorded is set before the record is handed out, so that what panics there
	// is not called again.
	recorded bool
	// id is the raw JSON text of the request id, as soon as it is known.
	id string
}

// record is the audit record of the exchange with its answer.
func (e *exchange) record(a *answer, now time.Time) Record {
	r := Record{
		Time:       e.start,
		RequestID:  e.headers[hRequestID].value,
		Server:     e.server,
		Generation: e.generation,
		Verb:       e.verb,
		Method:     e.message.Method,
		Target:     target(&e.message),
		Effect:     a.effect,
		Rule:       a.rule,
		Grant:      a.grant,
		Status:     a.status,
		Reason:     a.reason,
		Latency:    now.Sub(e.start),
	}
	if c := e.caller; c != nil {
		r.Issuer, r.Subject, r.Client = c.Issuer, c.Subject, c.Client
	}
	// The message shares the memory of the body, which a record must not keep
	// alive.
	r.Method = strings.Clone(r.Method)
	r.Target = strings.Clone(r.Target)
	return r
}

// target is what a message is about.
func target(m *rpcbody.Message) string {
	for _, f := range [...]rpcbody.Field{m.Name, m.URI, m.TaskID, m.Ref.Name, m.Ref.URI} {
		if f.Present {
			return f.Value
		}
	}
	return ""
}
