package extauthz

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
)

// Verbs of the endpoint of a server.
const (
	verbPost   = "POST"
	verbGet    = "GET"
	verbDelete = "DELETE"
)

// Decide decides whether the caller may send the request to the server. It is
// a pure function of its arguments. A nil policy stands for an unknown server,
// a nil caller for a request without a token.
//
// The order of judgement is: verb, token, message, permission. Whatever is
// not allowed by a rule of a scope is refused.
func Decide(p *ServerPolicy, r Request, c *Caller) Decision {
	switch {
	case p == nil:
		return deny(RuleServerUnknown, "no enabled server has this name")
	case r.Verb != verbPost && r.Verb != verbGet && r.Verb != verbDelete:
		return deny(RuleVerb, fmt.Sprintf("verb %q", r.Verb))
	case c == nil:
		return p.Refuse(RuleTokenMissing, "no access token")
	case !p.Accepts(c.Issuer):
		return p.Refuse(RuleTokenIssuer, fmt.Sprintf("the server does not accept tokens of issuer %q", c.Issuer))
	}
	if d, revoked := p.Revoked(c, r.At); revoked {
		return d
	}
	switch {
	case r.Verb != verbPost:
		return p.decideStream(&r, c)
	case r.Message == nil:
		return deny(RuleInternal, "a POST without a message")
	}
	return p.decideMessage(&r, c)
}

// Refuse is a denial by the rule, with the baseline scopes when the rule is
// about the token. Package check uses it for what is refused before or beside
// Decide. It works for a nil policy.
func (s *ServerPolicy) Refuse(rule Rule, reason string) Decision {
	d := deny(rule, reason)
	if a := rule.Answer(); s != nil && a.Challenge && a.OAuthError != oauthInsufficientScope {
		d.Scopes = s.Baseline
	}
	return d
}

func deny(rule Rule, reason string) Decision { return Decision{Rule: rule, Reason: reason} }

// decideStream judges GET, which opens the stream of a session, and DELETE,
// which ends it.
func (s *ServerPolicy) decideStream(r *Request, c *Caller) Decision {
	v, refused := r.version()
	switch {
	case refused != "":
		return r.refuseVersion(refused)
	case v&Modern != 0:
		return deny(RuleVerbModern, fmt.Sprintf("%s in protocol version %s", r.Verb, v))
	case r.Mirrored.Method.Present || r.Mirrored.Name.Present:
		return deny(RuleMirrorMismatch, r.describeMirrored())
	}
	reply := Plain
	if r.Verb == verbGet && r.Resume {
		reply = Resume
	}
	return s.permit(c, reply, operation{kind: onServer})
}

func (s *ServerPolicy) decideMessage(r *Request, c *Caller) Decision {
	m := r.Message
	v, refused := r.version()
	if refused != "" {
		return r.refuseVersion(refused)
	}
	modern := v&Modern != 0
	if m.Kind == rpcbody.Response {
		if r.Mirrored.Method.Present || r.Mirrored.Name.Present {
			return deny(RuleMirrorMismatch, r.describeMirrored())
		}
		return s.permit(c, Plain, operation{kind: onServer})
	}
	meth, known := LookupMethod(m.Method)
	if !known {
		meth = Method{Name: m.Method, Versions: allVersions, Grant: GrantMethods, Notification: m.Kind == rpcbody.Notification}
		if strings.HasPrefix(m.Method, taskPrefix) {
			meth.Versions = 0
		}
	}
	if refused := r.mirrors(meth, modern); refused != "" {
		return deny(refused, r.describeMirrored())
	}
	if meth.Versions&v == 0 {
		return r.methodUnknown(modern, fmt.Sprintf("method %q is not in protocol version %s", m.Method, v))
	}
	if (m.Kind == rpcbody.Notification) != meth.Notification {
		return deny(RuleMessageKind, fmt.Sprintf("method %q", m.Method))
	}
	if r.mayStartTask(meth, v) {
		meth.Reply = Task
	}
	return s.decideMethod(r, c, meth, modern)
}

func (s *ServerPolicy) decideMethod(r *Request, c *Caller, meth Method, modern bool) Decision {
	m := r.Message
	switch meth.Grant {
	case GrantServer:
		// What a client tells about its own task names no task of the server's.
		if meth.Notification && m.TaskID.Present && meth.Name != methodTaskStatus {
			return s.permitTask(r, c, meth, modern)
		}
		return s.permit(c, meth.Reply, operation{kind: onServer})
	case GrantTools:
		return s.permitTarget(c, meth, onTool, m.Name)
	case GrantPrompts:
		return s.permitTarget(c, meth, onPrompt, m.Name)
	case GrantResources:
		return s.permitTarget(c, meth, onResource, m.URI)
	case GrantRef:
		switch {
		case !m.Ref.Type.Present:
			return deny(RuleTargetMissing, "params.ref.type is missing")
		case m.Ref.Type.Value == "ref/prompt":
			return s.permitTarget(c, meth, onPrompt, m.Ref.Name)
		case m.Ref.Type.Value == "ref/resource":
			return s.permitTarget(c, meth, onResource, m.Ref.URI)
		}
		return deny(RuleRefUnknown, fmt.Sprintf("params.ref.type %q", m.Ref.Type.Value))
	case GrantSubscriptions:
		return s.permitSubscriptions(r, c, meth, modern)
	case GrantTask:
		if m.TaskID.Value == "" {
			return deny(RuleTargetMissing, fmt.Sprintf("method %q without its target", meth.Name))
		}
		return s.permitTask(r, c, meth, modern)
	case GrantMethods:
		d := s.permit(c, meth.Reply, operation{onMethod, m.Method})
		if d.Rule == RuleNoScopeHelps {
			return r.methodUnknown(modern, fmt.Sprintf("no rule of the server grants method %q", m.Method))
		}
		return d
	case GrantNone:
	}
	return deny(RuleTasksList, fmt.Sprintf("method %q is never allowed", m.Method))
}

// permitTarget judges the use of one target, which must be there: an upstream
// could take an absent or empty one for a default.
func (s *ServerPolicy) permitTarget(c *Caller, meth Method, kind operationKind, target rpcbody.Field) Decision {
	if target.Value == "" {
		return deny(RuleTargetMissing, fmt.Sprintf("method %q without its target", meth.Name))
	}
	return s.permit(c, meth.Reply, operation{kind, target.Value})
}

// permitTask judges the use of the task that the message names. Nobody learns
// whether a task that is not theirs exists, nor hears of a scope that would not
// help.
func (s *ServerPolicy) permitTask(r *Request, c *Caller, meth Method, modern bool) Decision {
	if !r.ownsTask(r.Message.TaskID.Value) {
		return r.taskUnknown(modern)
	}
	return s.permit(c, meth.Reply, operation{kind: onServer})
}

// permitSubscriptions judges each target of subscriptions/listen.
func (s *ServerPolicy) permitSubscriptions(r *Request, c *Caller, meth Method, modern bool) Decision {
	for _, id := range r.Message.TaskIDs {
		if !r.ownsTask(id) {
			return r.taskUnknown(modern)
		}
	}
	uris := r.Message.Resources
	if len(uris) == 0 {
		return s.permit(c, meth.Reply, operation{kind: onServer})
	}
	ops := make([]operation, len(uris))
	for i, uri := range uris {
		ops[i] = operation{onResource, uri}
	}
	return s.permit(c, meth.Reply, ops...)
}

// permit allows when the caller's scopes cover every operation. Otherwise it
// looks for the scopes that would.
func (s *ServerPolicy) permit(c *Caller, reply Reply, ops ...operation) Decision {
	set := s.Effective(c)
	var missing []operation
	granted := ""
	for _, op := range ops {
		g := s.grantOf(set, op)
		switch {
		case g == nil:
			missing = append(missing, op)
		case granted == "":
			granted = g.scope
		}
	}
	if len(missing) == 0 && granted != "" {
		return Decision{Allow: true, Rule: RuleGranted, Grant: granted, Reply: reply}
	}
	scopes := s.cure(missing)
	if len(scopes) == 0 {
		return deny(RuleNoScopeHelps, "no scope grants "+describe(missing))
	}
	d := deny(RuleScopeInsufficient, "the caller's scopes do not grant "+describe(missing))
	d.Scopes = scopes
	return d
}

// describe names operations for the operator.
func describe(ops []operation) string {
	const shown = 3
	var parts []string
	for i, op := range ops {
		if i == shown {
			parts = append(parts, fmt.Sprintf("%d more", len(ops)-shown))
			break
		}
		parts = append(parts, op.String())
	}
	return strings.Join(parts, ", ")
}

// String names the operation for the operator.
func (o operation) String() string {
	switch o.kind {
	case onTool:
		return fmt.Sprintf("tool %q", o.target)
	case onPrompt:
		return fmt.Sprintf("prompt %q", o.target)
	case onResource:
		return fmt.Sprintf("resource %q", o.target)
	case onMethod:
		return fmt.Sprintf("method %q", o.target)
	case onServer:
	}
	return "anything on the server"
}

// methodUnknown refuses a method in the words of the era. A legacy client that
// gets 404 gives up its session, so one that states such a version gets the
// JSON-RPC error alone.
func (r *Request) methodUnknown(modern bool, reason string) Decision {
	if !modern && r.Mirrored.Version.Present && r.Message.Kind == rpcbody.Request {
		return deny(RuleMethodUnknownLegacy, reason)
	}
	return deny(RuleMethodUnknown, reason)
}

// taskUnknown refuses a task in the words in which servers refuse one they do
// not know. To a legacy client a 404 would mean that its session is gone, and
// servers say 200.
func (r *Request) taskUnknown(modern bool) Decision {
	const reason = "the caller is not known to have started the task"
	if !modern && r.Message.Kind == rpcbody.Request {
		return deny(RuleTaskNotBoundLegacy, reason)
	}
	return deny(RuleTaskNotBound, reason)
}

// refuseVersion refuses the versions stated, with the data that the
// specification wants in an UnsupportedProtocolVersion error.
func (r *Request) refuseVersion(rule Rule) Decision {
	d := deny(rule, r.describeVersion())
	if rule != RuleVersionUnsupported {
		return d
	}
	supported := allVersions
	if _, known := ParseVersion(r.Mirrored.Version.Value); known {
		// A legacy version in _meta, where only modern ones can be.
		supported = Modern
	}
	data, err := json.Marshal(struct {
		Supported []string `json:"supported"`
		Requested string   `json:"requested"`
	}{supported.Names(), r.Mirrored.Version.Value})
	if err == nil {
		d.Data = string(data)
	}
	return d
}
