package extauthz

import (
	"slices"
	"strings"
	"time"

	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
	"github.com/mcpgate/mcpgate/registry"
)

// Query is a question about a decision that has not been asked for yet.
type Query struct {
	Server string
	// Method is an MCP method, or GET or DELETE for these verbs.
	Method string
	// Target is what the method uses: a tool, a prompt, a URI. For
	// completion/complete it is a prompt's name or, when it contains "://", a
	// resource's URI; for subscriptions/listen, URIs separated by spaces.
	Target string
	// Caller asks. When its Issuer is empty, the answer holds for a token of
	// any issuer that the server accepts: every Group counts.
	Caller Caller
	// At is the time asked about, for Revocations that end. At the zero time
	// every Revocation counts.
	At time.Time
}

// Explanation answers a Query. Its JSON form is that of `mcpgate explain -o
// json`.
type Explanation struct {
	Allow  bool   `json:"allow"`
	Rule   Rule   `json:"rule"`
	Reason string `json:"reason,omitempty"`
	// Granted says what allows, for an allow.
	Granted *Granted `json:"granted,omitempty"`
	// Status is the HTTP status of the refusal.
	Status int `json:"status,omitempty"`
	// Needs is the smallest set of scopes that would change the decision.
	Needs []string `json:"needs,omitempty"`
	// Alternatives are all scopes that would by themselves, the one that grants
	// least first.
	Alternatives []string `json:"alternatives,omitempty"`
	// Challenge is the WWW-Authenticate header of the refusal.
	Challenge string `json:"challenge,omitempty"`
	// Scopes are those of the caller's scopes, with what its groups give and
	// what they include, that grant something on the server.
	Scopes []string `json:"scopes,omitempty"`
	// Revision is that of the registry that was asked.
	Revision int64 `json:"revision"`
}

// Granted is the part of the registry that allows an operation.
type Granted struct {
	Scope string `json:"scope"`
	// Rule is the index of the rule in the scope.
	Rule int `json:"rule"`
	// Pattern is the one that covers the target; empty where no target is
	// judged.
	Pattern string `json:"pattern,omitempty"`
	// Via says how the caller comes to have the scope: "token" or "group NAME",
	// with ", included in SCOPE" when neither gives it directly.
	Via string `json:"via"`
}

// Explain answers the query as Decide would decide, and says why.
func (p *Policies) Explain(q Query) Explanation {
	s, ok := p.Server(q.Server)
	if !ok {
		d := Decide(nil, Request{}, nil)
		return Explanation{Rule: d.Rule, Reason: d.Reason, Status: d.Rule.Answer().Status, Revision: p.Revision()}
	}
	c := q.caller(s)
	r := q.request()
	r.At = q.At
	d := Decide(s, r, &c)
	e := Explanation{
		Allow: d.Allow, Rule: d.Rule, Reason: d.Reason, Needs: d.Scopes, Challenge: d.Challenge(s),
		Scopes: s.Relevant(s.Effective(&c)), Revision: s.view.revision,
	}
	if !d.Allow {
		e.Status = d.Rule.Answer().Status
		if d.Rule == RuleScopeInsufficient {
			e.Alternatives = s.alternatives(r, c)
		}
		return e
	}
	e.Granted = s.granted(d.Grant, r)
	e.Granted.Via = s.via(d.Grant, q)
	return e
}

// caller is the caller that Decide sees: without an Issuer, one that the
// server accepts, with the scopes of all groups.
func (q Query) caller(s *ServerPolicy) Caller {
	c := q.Caller
	if c.Issuer != "" {
		return c
	}
	c.Scopes, c.Groups = slices.Clone(c.Scopes), nil
	for _, name := range q.Caller.Groups {
		if g, ok := s.view.groups.get(name); ok && (g.Issuer == "" || s.Accepts(g.Issuer)) {
			c.Scopes = append(c.Scopes, g.Scopes...)
		}
	}
	if len(s.Issuers) > 0 {
		c.Issuer = s.Issuers[0]
	}
	return c
}

// request is a well-formed request for the query, of the newest version that
// has the method.
func (q Query) request() Request {
	if q.Method == verbGet || q.Method == verbDelete {
		return Request{Verb: q.Method}
	}
	field := func() rpcbody.Field { return rpcbody.Field{Value: q.Target, Present: q.Target != ""} }
	m := &rpcbody.Message{Kind: rpcbody.Request, Method: q.Method, ID: "1"}
	r := Request{Verb: verbPost, Message: m}
	meth, known := LookupMethod(q.Method)
	if !known {
		return r
	}
	if meth.Notification {
		m.Kind, m.ID = rpcbody.Notification, ""
	}
	switch meth.Target {
	case TargetName:
		m.Name = field()
	case TargetURI:
		m.URI = field()
	case TargetTask:
		m.TaskID = field()
	case TargetRef:
		m.Ref.Type = rpcbody.Field{Value: "ref/prompt", Present: true}
		if m.Ref.Name = field(); strings.Contains(q.Target, "://") {
			m.Ref = rpcbody.Ref{Type: rpcbody.Field{Value: "ref/resource", Present: true}, URI: field()}
		}
	case TargetSubscriptions:
		m.Resources = strings.Fields(q.Target)
	case NoTarget:
	}
	if meth.Versions&Legacy == 0 {
		v := rpcbody.Field{Value: meth.Versions.Names()[0], Present: true}
		m.MetaVersion = v
		r.Mirrored = Mirrored{Method: rpcbody.Field{Value: q.Method, Present: true}, Version: v}
		if meth.NameRequired {
			r.Mirrored.Name = field()
		}
	}
	return r
}

// alternatives are the scopes of the server that would, each alone, turn the
// denial into an allow.
func (s *ServerPolicy) alternatives(r Request, c Caller) []string {
	var cs []candidate
	seen := make(map[string]bool)
	s.granters(operation{kind: onServer}, func(found candidate) {
		with := c
		with.Scopes = append(slices.Clone(c.Scopes), found.name)
		if !seen[found.name] && Decide(s, r, &with).Allow {
			seen[found.name] = true
			cs = append(cs, found)
		}
	})
	slices.SortFunc(cs, func(a, b candidate) int { return a.compare(&b) })
	names := make([]string, len(cs))
	for i := range cs {
		names[i] = cs[i].name
	}
	return names
}

// granted finds the rule of the scope that covers what the request does.
func (s *ServerPolicy) granted(name string, r Request) *Granted {
	g := &Granted{Scope: name}
	op := r.firstOperation()
	for _, gs := range []grants{s.grants, s.view.wild} {
		found := gs.of(name)
		if found == nil {
			continue
		}
		for _, rule := range found.rules {
			if _, ok := rule.covers(op); ok {
				g.Rule, g.Pattern = rule.index, rule.pattern(op)
				return g
			}
		}
	}
	return g
}

// firstOperation is the operation, or the first of several, that the request
// needs.
func (r Request) firstOperation() operation {
	m := r.Message
	if m == nil {
		return operation{kind: onServer}
	}
	meth, known := LookupMethod(m.Method)
	switch {
	case !known || meth.Grant == GrantMethods:
		return operation{onMethod, m.Method}
	case meth.Grant == GrantTools:
		return operation{onTool, m.Name.Value}
	case meth.Grant == GrantPrompts:
		return operation{onPrompt, m.Name.Value}
	case meth.Grant == GrantResources:
		return operation{onResource, m.URI.Value}
	case meth.Grant == GrantRef && m.Ref.URI.Present:
		return operation{onResource, m.Ref.URI.Value}
	case meth.Grant == GrantRef:
		return operation{onPrompt, m.Ref.Name.Value}
	case meth.Grant == GrantSubscriptions && len(m.Resources) > 0:
		return operation{onResource, m.Resources[0]}
	}
	return operation{kind: onServer}
}

// pattern is the text in the rule that covers the operation, closest first.
func (r *rule) pattern(op operation) string {
	var patterns []registry.Pattern
	switch op.kind {
	case onTool:
		patterns = r.source.Tools
	case onPrompt:
		patterns = r.source.Prompts
	case onResource:
		patterns = r.source.Resources
	case onMethod:
		return op.target
	case onServer:
		return ""
	}
	best := ""
	for _, p := range patterns {
		if string(p) == op.target {
			return op.target
		}
		if p.Match(op.target) && len(p) > len(best) {
			best = string(p)
		}
	}
	return best
}

// via says how the caller of the query comes to have the scope.
func (s *ServerPolicy) via(name string, q Query) string {
	held := func(scopes []string) (string, bool) {
		if slices.Contains(scopes, name) {
			return "", true
		}
		for _, sc := range scopes {
			if closure, _ := s.view.closures.get(sc); slices.Contains(closure, name) {
				return ", included in " + sc, true
			}
		}
		return "", false
	}
	if how, ok := held(q.Caller.Scopes); ok {
		return "token" + how
	}
	for _, group := range q.Caller.Groups {
		if g, ok := s.view.groups.get(group); ok {
			if how, ok := held(g.Scopes); ok {
				return "group " + group + how
			}
		}
	}
	return "token"
}
