package check

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/mcpgate/mcpgate/extauthz"
	tokenexchange "github.com/mcpgate/mcpgate/extauthz/exchange"
	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
	"github.com/mcpgate/mcpgate/extauthz/session"
	"github.com/mcpgate/mcpgate/extauthz/token"
	"github.com/mcpgate/mcpgate/registry"
)

// judge answers a check. The order is part of the contract: what stands first
// decides which of several faults a client hears of, so that nobody without a
// valid token learns anything about bodies or permissions.
func (s *Server) judge(ctx context.Context, e *exchange) *answer {
	if e.overload {
		return s.fail(e, extauthz.RuleOverload, "too many checks in flight")
	}
	if s.ready != nil && !s.ready() {
		return s.fail(e, extauthz.RuleNotReady, "the policies are not complete")
	}
	if rule, reason := e.guard(); rule != "" {
		return s.refuse(e, rule, reason)
	}
	policy, ok := s.policies.Server(e.server)
	if !ok {
		return s.refuse(e, extauthz.RuleServerUnknown, "no enabled server has this name")
	}
	e.policy = policy
	upstream, ok := policy.Upstream(e.generation)
	if !ok {
		return s.fail(e, extauthz.RuleGenerationUnknown, "the route has a generation of the upstream that the policies do not know")
	}
	switch e.verb {
	case http.MethodPost, http.MethodGet, http.MethodDelete:
	default:
		return s.refuse(e, extauthz.RuleVerb, "")
	}
	if o := e.headers[hOrigin]; o.count > 1 || o.count == 1 && !s.origins.allow(o.value) {
		return s.refuse(e, extauthz.RuleOrigin, "")
	}
	if a := s.authenticate(ctx, e); a != nil {
		return a
	}
	request, a := s.readRequest(e)
	if a != nil {
		return a
	}
	d := extauthz.Decide(policy, request, e.caller)
	if !d.Allow {
		return s.deny(e, d)
	}
	p := permit{decision: d, upstream: upstream}
	if bound := e.headers[hMCPSessionID]; bound.count > 0 {
		id, err := s.sessions.Unwrap(e.owner(), bound.value)
		switch {
		case errors.Is(err, session.ErrUnknown):
			return s.refuse(e, extauthz.RuleSessionUnknown, "the session id was not given to this caller for this server")
		case err != nil:
			return s.fail(e, extauthz.RuleInternal, err.Error())
		case !isVisible(id):
			return s.fail(e, extauthz.RuleInternal, "the upstream's session id does not fit into a header")
		}
		p.sessionID = id
	}
	if x := upstream.Exchange; x != nil {
		traded, a := s.trade(ctx, e, x)
		if a != nil {
			return a
		}
		p.exchanged = traded
	}
	return s.allow(e, p)
}

// trade exchanges the client's token for one of the upstream's, or refuses.
func (s *Server) trade(ctx context.Context, e *exchange, x *registry.Exchange) (string, *answer) {
	if s.exchanges == nil {
		return "", s.fail(e, extauthz.RuleInternal, "nobody to exchange tokens")
	}
	got, err := s.exchanges.Token(ctx, tokenexchange.Request{
		Exchange: x, Server: e.server, Generation: e.generation, Caller: e.caller, Token: e.token,
	})
	if err != nil {
		ee, ok := errors.AsType[*tokenexchange.Error](err)
		if !ok {
			return "", s.fail(e, extauthz.RuleInternal, err.Error())
		}
		return "", s.fail(e, ee.Rule, ee.Reason)
	}
	if !isVisible(got) {
		return "", s.fail(e, extauthz.RuleInternal, "an exchanged token that does not fit into a header")
	}
	return got, nil
}

// guard refuses what no client can cause: an Envoy that is configured in
// another way than the gateway's xDS says, and a body that is not the one the
// upstream would get. It is the first thing that looks at a check.
func (e *exchange) guard() (rule extauthz.Rule, reason string) {
	partial := e.headers[hPartialBody]
	switch {
	case e.malformed != nil:
		return extauthz.RuleInternal, e.malformed.Error()
	case !e.hasHeaderMap:
		return extauthz.RuleInternal, "no raw headers: encode_raw_headers is off"
	case e.server == "" || e.generation == 0:
		return extauthz.RuleRouteMetadata, "the route has no metadata of the gateway"
	case partial.count > 1, partial.count == 1 && partial.value != "false":
		return extauthz.RulePartialBody, "Envoy sent a part of the body"
	case int64(len(e.body)) != e.size:
		return extauthz.RulePartialBody, "Envoy sent another number of bytes than the body has"
	case partial.count == 0 && e.size != 0:
		return extauthz.RulePartialBody, "Envoy does not say that the body is whole"
	}
	return "", ""
}

// refuse denies by a rule that is not Decide's.
func (s *Server) refuse(e *exchange, rule extauthz.Rule, reason string) *answer {
	return s.deny(e, e.policy.Refuse(rule, reason))
}

// authenticate finds the caller, or refuses.
func (s *Server) authenticate(ctx context.Context, e *exchange) *answer {
	h := e.headers[hAuthorization]
	switch {
	case hasQueryToken(e.path):
		return s.refuse(e, extauthz.RuleTokenInQuery, "")
	case h.count == 0:
		return s.refuse(e, extauthz.RuleTokenMissing, "")
	case h.count > 1 || strings.IndexByte(h.value, ',') >= 0:
		return s.refuse(e, extauthz.RuleTokenDuplicate, "")
	}
	raw, ok := bearer(h.value)
	if !ok {
		return s.refuse(e, extauthz.RuleTokenScheme, "")
	}
	caller, err := s.tokens.Verify(ctx, raw, token.Want{Issuers: e.policy.Issuers, Audiences: e.policy.Audiences})
	if err != nil {
		te, ok := errors.AsType[*token.Error](err)
		switch {
		case !ok:
			return s.fail(e, extauthz.RuleInternal, err.Error())
		case te.Unavailable:
			return s.fail(e, te.Rule, te.Reason)
		}
		return s.refuse(e, te.Rule, te.Reason)
	}
	if caller == nil || caller.Issuer == "" || caller.Subject == "" {
		return s.fail(e, extauthz.RuleInternal, "a verified token without issuer or subject")
	}
	e.caller, e.token = caller, raw
	if d, revoked := e.policy.Revoked(caller, e.start); revoked {
		return s.deny(e, d)
	}
	return nil
}

// readRequest reads what Decide decides on, or refuses.
func (s *Server) readRequest(e *exchange) (extauthz.Request, *answer) {
	none := extauthz.Request{}
	for _, i := range [...]int{hMCPMethod, hMCPName, hMCPProtocolVersion, hMCPSessionID} {
		if e.headers[i].count > 1 {
			return none, s.refuse(e, extauthz.RuleHeaderDuplicate, "")
		}
	}
	r := extauthz.Request{
		Verb: e.verb,
		At:   e.start,
		Mirrored: extauthz.Mirrored{
			Method:  e.mirrored(hMCPMethod),
			Name:    e.mirrored(hMCPName),
			Version: e.mirrored(hMCPProtocolVersion),
		},
	}
	if e.verb != http.MethodPost {
		// Over HTTP/2 an empty DATA frame makes a body of no bytes.
		if e.size != 0 {
			return none, s.refuse(e, extauthz.RuleUnexpectedBody, "")
		}
		// Every stream takes the way of one that is resumed: whether an upstream
		// replays is its own matter, and the filter of the reply is what sees a
		// stream end, and so counts how many a caller has.
		r.Resume = e.verb == http.MethodGet
		return r, nil
	}
	if h := e.headers[hContentType]; h.count != 1 || !isJSON(h.value) {
		return none, s.refuse(e, extauthz.RuleContentType, "")
	}
	if h := e.headers[hContentEncoding]; h.count > 1 || h.count == 1 && !strings.EqualFold(h.value, "identity") {
		return none, s.refuse(e, extauthz.RuleContentEncoding, "")
	}
	if err := s.body.Read(e.body, &e.message); err != nil {
		be, ok := errors.AsType[*rpcbody.Error](err)
		if !ok {
			return none, s.fail(e, extauthz.RuleInternal, err.Error())
		}
		e.message = rpcbody.Message{}
		e.id = be.ID
		return none, s.refuse(e, extauthz.Rule(be.Rule), be.Error())
	}
	e.id = e.message.ID
	r.Message = &e.message
	if s.tasks != nil && (e.message.TaskID.Present || len(e.message.TaskIDs) > 0) {
		r.OwnsTask = func(id string) bool { return s.tasks.Owns(e.owner(), e.generation, id) }
	}
	return r, nil
}

// mirrored is a header that repeats a part of the body.
func (e *exchange) mirrored(i int) rpcbody.Field {
	return rpcbody.Field{Value: e.headers[i].value, Present: e.headers[i].count > 0}
}

// owner is whose a session or a task must be.
func (e *exchange) owner() session.Owner {
	return session.Owner{Issuer: e.caller.Issuer, Subject: e.caller.Subject, Client: e.caller.Client, Server: e.server}
}
