package check

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mcpgate/mcpgate/extauthz"
)

// The request headers that an allow may touch, besides the one that carries
// the upstream's credential. Envoy lets ext_authz set framing headers and would
// send them, so that the list is closed, and no name comes from a request.
const (
	nameContentType     = "content-type"
	typeJSON            = "application/json"
	nameContentEncoding = "content-encoding"
	nameAcceptEncoding  = "accept-encoding"
	nameAuthorization   = "authorization"
	nameProxyAuth       = "proxy-authorization"
	nameCookie          = "cookie"
	nameSessionID       = "mcp-session-id"
	nameSubject         = "x-mcpgate-subject"
	nameClient          = "x-mcpgate-client"
	nameScopes          = "x-mcpgate-scopes"
	// nameTimeout is for Envoy's router, which takes it off the request.
	nameTimeout = "x-envoy-upstream-rq-timeout-ms"
)

// maxScopesHeader bounds the value of x-mcpgate-scopes, in bytes. Many servers
// take no more than that in all headers together, so that longer ones are left
// out: an upstream that looks for a scope finds none.
const maxScopesHeader = 8 << 10

// permit is what an allow needs beyond the exchange.
type permit struct {
	decision extauthz.Decision
	upstream *extauthz.Upstream
	// sessionID is the upstream's own, empty when the request has none.
	sessionID string
	// exchanged is the token for an upstream with an Exchange.
	exchanged string
}

// allow lets the request through, to the route of the server and generation
// that the route of its arrival named. It fails when a header for the upstream
// cannot be made as it must be.
//
// A changed header is what makes Envoy choose the route again; the subject is
// always there and always set.
func (s *Server) allow(e *exchange, p permit) *answer {
	// The upstream learns what the caller may do there, and no more.
	scopes := strings.Join(e.policy.Relevant(e.policy.Effective(e.caller)), " ")
	if !isHeaderText(e.caller.Subject) ||
		e.caller.Client != "" && !isHeaderText(e.caller.Client) ||
		scopes != "" && !isHeaderText(scopes) {
		return s.fail(e, extauthz.RuleInternal, "subject, client or scopes of the caller do not fit into a header")
	}
	var setBuf [7]pair
	var removeBuf [8]string
	set, remove := append(setBuf[:0], pair{nameSubject, e.caller.Subject}), removeBuf[:0]
	set = append(set, pair{nameTimeout, e.timeLeft()})
	set, remove = setOrRemove(set, remove, nameClient, e.caller.Client)
	if len(scopes) <= maxScopesHeader {
		set, remove = setOrRemove(set, remove, nameScopes, scopes)
	} else {
		remove = append(remove, nameScopes)
	}
	if e.verb == http.MethodPost {
		set = append(set, pair{nameContentType, typeJSON})
	}
	if p.sessionID != "" {
		set = append(set, pair{nameSessionID, p.sessionID})
	}
	credential := ""
	if p.upstream.Credential != nil {
		c, err := s.credential(p.upstream.Credential)
		if err != nil {
			return s.fail(e, extauthz.RuleSecretUnavailable, err.Error())
		}
		credential = c.name
		set = append(set, c)
	}
	if (p.upstream.Exchange != nil) != (p.exchanged != "") || p.exchanged != "" && credential != "" {
		return s.fail(e, extauthz.RuleInternal, "an upstream without the one credential that it should get")
	}
	if p.exchanged != "" {
		credential = nameAuthorization
		set = append(set, pair{nameAuthorization, "Bearer " + p.exchanged})
	}
	remove = append(remove, nameProxyAuth, nameContentEncoding)
	if !p.upstream.ForwardClientToken || p.exchanged != "" {
		remove = append(remove, nameAuthorization, nameCookie)
	}
	route := "plain"
	if p.decision.Reply != extauthz.Plain {
		// The filter of the reply reads no compressed one.
		route = "inspect"
		remove = append(remove, nameAcceptEncoding)
	}
	// Envoy removes after it sets: a name on both lists would be lost.
	remove = slices.DeleteFunc(remove, func(name string) bool { return name == credential })

	return &answer{
		wire:   encodeOK(set, remove, e.permitMetadata(route, scopes, p.decision.Reply)),
		effect: EffectAllow,
		rule:   p.decision.Rule,
		grant:  p.decision.Grant,
		reason: p.decision.Reason,
	}
}

// timeLeft is how long the token is still accepted, in milliseconds: no reply
// may take longer, so that no stream outlives the token that opened it. Envoy
// takes 0 for no limit.
func (e *exchange) timeLeft() string {
	const most = 1<<31 - 1 // 24 days; timers overflow somewhere above
	left := e.caller.ExpiresAt.Add(extauthz.ClockLeeway).Sub(e.start).Milliseconds()
	return strconv.FormatInt(min(max(left, 1), most), 10)
}

func setOrRemove(set []pair, remove []string, name, value string) ([]pair, []string) {
	if value == "" {
		return set, append(remove, name)
	}
	return append(set, pair{name, value}), remove
}

// permitMetadata is the dynamic metadata of an allow. The routes match on
// route alone; the rest is for the filter of the reply and the access log.
func (e *exchange) permitMetadata(route, scopes string, reply extauthz.Reply) []pair {
	m := append(make([]pair, 0, 12),
		pair{"route", route + ":" + e.server + "@" + strconv.FormatInt(e.generation, 10)},
		pair{"server", e.server},
		pair{"inspect", reply.String()})
	if e.message.Method != "" {
		m = append(m, pair{"method", e.message.Method})
	}
	if e.id != "" {
		m = append(m, pair{"id", e.id})
	}
	if reply != extauthz.Plain {
		m = append(m,
			pair{"issuer", e.caller.Issuer},
			pair{"subject", e.caller.Subject},
			pair{"client", e.caller.Client},
			pair{"scopes", scopes})
		// The rest of what a Revocation can name, for as long as a reply lasts.
		if e.caller.TokenID != "" {
			m = append(m, pair{"token_id", e.caller.TokenID})
		}
		if e.caller.SessionID != "" {
			m = append(m, pair{"session", e.caller.SessionID})
		}
		if !e.caller.IssuedAt.IsZero() {
			m = append(m, pair{"issued_at", e.caller.IssuedAt.UTC().Format(time.RFC3339Nano)})
		}
	}
	return m
}
