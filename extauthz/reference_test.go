package extauthz

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
	"github.com/mcpgate/mcpgate/registry"
)

// The universe of the property tests is small, so that things meet.
var (
	someServers = []string{"s0", "s1", "s2"}
	someScopes  = []string{"a", "b", "c", "d", "e", "f"}
	someGroups  = []string{"g", "h"}
	someIssuers = []string{"corp", "partner"}
	someTargets = []string{"t", "tt", "tu", "u"}
	someMethods = []string{"x/one", "x/two", "skills/list"}
)

var somePatterns = rapid.SliceOfN(rapid.SampledFrom([]registry.Pattern{"t", "tt", "tu", "u", "t*", "tt*", "*"}), 0, 2)

func drawScope(t *rapid.T, name string) *registry.Scope {
	s := &registry.Scope{Name: name}
	for range rapid.IntRange(0, 2).Draw(t, "rules") {
		s.Rules = append(s.Rules, registry.Rule{
			Servers:   rapid.SliceOfN(rapid.SampledFrom(append([]string{"*"}, someServers...)), 1, 2).Draw(t, "servers"),
			Tools:     somePatterns.Draw(t, "tools"),
			Prompts:   somePatterns.Draw(t, "prompts"),
			Resources: somePatterns.Draw(t, "resources"),
			Methods:   rapid.SliceOfN(rapid.SampledFrom(someMethods), 0, 1).Draw(t, "methods"),
		})
	}
	// Cycles are refused by the registry, and must do no harm here.
	s.Includes = rapid.SliceOfNDistinct(rapid.SampledFrom(someScopes), 0, 2, rapid.ID[string]).Draw(t, "includes")
	return s
}

func drawServer(t *rapid.T, name string, generation int64) *registry.Server {
	on := rapid.SampledFrom([]bool{true, true, true, false}).Draw(t, "enabled")
	return &registry.Server{
		Name: name, Enabled: &on, Metadata: registry.Metadata{Generation: generation},
		Access: registry.Access{
			Issuers:        rapid.SampledFrom([][]string{nil, nil, {"corp"}}).Draw(t, "issuers"),
			BaselineScopes: rapid.SampledFrom([][]string{nil, {"b"}}).Draw(t, "baseline"),
		},
	}
}

func drawGroup(t *rapid.T, name string) *registry.Group {
	return &registry.Group{
		Name:   name,
		Issuer: rapid.SampledFrom([]string{"", "corp", "partner"}).Draw(t, "issuer"),
		Scopes: rapid.SliceOfN(rapid.SampledFrom(someScopes), 0, 2).Draw(t, "scopes"),
	}
}

func drawRegistry(t *rapid.T) []registry.Resource {
	var rs []registry.Resource
	for _, n := range someServers {
		rs = append(rs, drawServer(t, n, 1))
	}
	for _, n := range someScopes {
		rs = append(rs, drawScope(t, n))
	}
	for _, n := range someGroups {
		rs = append(rs, drawGroup(t, n))
	}
	for _, n := range someIssuers {
		rs = append(rs, &registry.Issuer{Name: n, Issuer: "https://" + n})
	}
	return rs
}

func drawCaller(t *rapid.T) *Caller {
	return &Caller{
		Issuer: rapid.SampledFrom(someIssuers).Draw(t, "issuer"),
		Scopes: rapid.SliceOfN(rapid.SampledFrom(append([]string{"unknown"}, someScopes...)), 0, 2).Draw(t, "scopes"),
		Groups: rapid.SliceOfN(rapid.SampledFrom(append([]string{"unknown"}, someGroups...)), 0, 1).Draw(t, "groups"),
	}
}

// myTask is the one task that every caller of the tests has started.
const myTask = "mine"

// need is what the reference judges: one use of one target, or of the server.
type need struct{ grant, target string }

// drawRequest draws a well-formed request and what it needs.
func drawRequest(t *rapid.T) (Request, []need) {
	target := rapid.SampledFrom(someTargets).Draw(t, "target")
	field := rpcbody.Field{Value: target, Present: true}
	post := func(m rpcbody.Message) Request {
		m.Kind, m.ID = rpcbody.Request, "1"
		return Request{Verb: "POST", Message: &m}
	}
	switch kind := rapid.IntRange(0, 10).Draw(t, "kind"); kind {
	case 0:
		return Request{Verb: "GET"}, []need{{"server", ""}}
	case 1:
		return post(rpcbody.Message{Method: "tools/list"}), []need{{"server", ""}}
	case 2:
		return post(rpcbody.Message{Method: "prompts/get", Name: field}), []need{{"prompts", target}}
	case 3:
		return post(rpcbody.Message{Method: "resources/read", URI: field}), []need{{"resources", target}}
	case 4:
		ref := rpcbody.Ref{Type: rpcbody.Field{Value: "ref/resource", Present: true}, URI: field}
		return post(rpcbody.Message{Method: "completion/complete", Ref: ref}), []need{{"resources", target}}
	case 5:
		method := rapid.SampledFrom(someMethods[:2]).Draw(t, "method")
		return post(rpcbody.Message{Method: method}), []need{{"methods", method}}
	case 8:
		id := rapid.SampledFrom([]string{myTask, "another's"}).Draw(t, "task")
		r := post(rpcbody.Message{Method: "tasks/get", TaskID: rpcbody.Field{Value: id, Present: true}})
		r.OwnsTask = func(id string) bool { return id == myTask }
		return r, []need{{"task", id}}
	case 6, 7:
		uris := rapid.SliceOfNDistinct(rapid.SampledFrom(someTargets), 1, 4, rapid.ID[string]).Draw(t, "uris")
		r := post(rpcbody.Message{Method: "subscriptions/listen", Resources: uris})
		v := rpcbody.Field{Value: "2026-07-28", Present: true}
		r.Message.MetaVersion = v
		r.Mirrored = Mirrored{Version: v, Method: rpcbody.Field{Value: "subscriptions/listen", Present: true}}
		var needs []need
		for _, uri := range uris {
			needs = append(needs, need{"resources", uri})
		}
		r.OwnsTask = func(id string) bool { return id == myTask }
		for _, id := range rapid.SliceOfN(rapid.SampledFrom([]string{myTask, myTask, "another's"}), 0, 2).Draw(t, "tasks") {
			r.Message.TaskIDs = append(r.Message.TaskIDs, id)
			needs = append(needs, need{"task", id})
		}
		return r, needs
	}
	return post(rpcbody.Message{Method: "tools/call", Name: field}), []need{{"tools", target}}
}

// reference decides by walking everything there is, straight from the words of
// the grant table.
type reference []registry.Resource

func (ref reference) allows(server string, c *Caller, needs []need) bool {
	s, _ := ref.find(registry.Key{Kind: registry.KindServer, Name: server}).(*registry.Server)
	if s == nil || !s.IsEnabled() || s.Access.Issuers != nil && !slices.Contains(s.Access.Issuers, c.Issuer) {
		return false
	}
	held := ref.held(c)
	for _, n := range needs {
		if !slices.ContainsFunc(held, func(scope string) bool { return ref.grants(scope, server, n) }) {
			return false
		}
	}
	return true
}

func (ref reference) find(key registry.Key) registry.Resource {
	for _, r := range ref {
		if r.Key() == key {
			return r
		}
	}
	return nil
}

func (ref reference) held(c *Caller) []string {
	held := slices.Clone(c.Scopes)
	for _, name := range c.Groups {
		if g, ok := ref.find(registry.Key{Kind: registry.KindGroup, Name: name}).(*registry.Group); ok {
			if g.Issuer == "" || g.Issuer == c.Issuer {
				held = append(held, g.Scopes...)
			}
		}
	}
	for again := true; again; {
		again = false
		for _, name := range slices.Clone(held) {
			s, ok := ref.find(registry.Key{Kind: registry.KindScope, Name: name}).(*registry.Scope)
			if !ok {
				continue
			}
			for _, included := range s.Includes {
				if !slices.Contains(held, included) {
					held, again = append(held, included), true
				}
			}
		}
	}
	return held
}

func (ref reference) grants(scope, server string, n need) bool {
	s, ok := ref.find(registry.Key{Kind: registry.KindScope, Name: scope}).(*registry.Scope)
	if !ok {
		return false
	}
	match := func(ps []registry.Pattern) bool {
		return slices.ContainsFunc(ps, func(p registry.Pattern) bool { return p.Match(n.target) })
	}
	for _, r := range s.Rules {
		if !slices.Contains(r.Servers, server) && !slices.Contains(r.Servers, "*") {
			continue
		}
		if n.grant == "server" || n.grant == "task" && n.target == myTask || n.grant == "tools" && match(r.Tools) || n.grant == "prompts" && match(r.Prompts) ||
			n.grant == "resources" && match(r.Resources) || n.grant == "methods" && slices.Contains(r.Methods, n.target) {
			return true
		}
	}
	return false
}

func compiled(rs []registry.Resource) *Policies {
	p := NewPolicies(Config{ExternalURL: "https://gw.example.com"})
	p.Load(registry.Snapshot{Revision: 1, Resources: rs})
	return p
}

func plus(c *Caller, scopes ...string) *Caller {
	more := *c
	more.Scopes = append(slices.Clone(c.Scopes), scopes...)
	return &more
}

// TestDecideAgreesWithTheReference also holds what a challenge promises: its
// scopes allow the operation, no smaller set does, and where there is no
// challenge nothing does.
func TestDecideAgreesWithTheReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rs := drawRegistry(t)
		ref, policies := reference(rs), compiled(rs)
		for range 8 {
			server, c := rapid.SampledFrom(someServers).Draw(t, "server"), drawCaller(t)
			r, needs := drawRequest(t)
			policy, _ := policies.Server(server)
			d := Decide(policy, r, c)
			if want := ref.allows(server, c, needs); d.Allow != want {
				t.Fatalf("%s for %+v on %s: allow %v, want %v (%s)", needs, c, server, d.Allow, want, d.Reason)
			}
			switch {
			case d.Allow:
				if d.Rule != RuleGranted || !slices.Contains(ref.held(c), d.Grant) || !ref.grants(d.Grant, server, needs[0]) {
					t.Fatalf("%s for %+v on %s: granted by %q", needs, c, server, d.Grant)
				}
			case d.Rule == RuleScopeInsufficient:
				checkCure(t, ref, server, c, needs, d.Scopes)
			case policy != nil && policy.Accepts(c.Issuer):
				if ref.allows(server, plus(c, someScopes...), needs) {
					t.Fatalf("%s for %+v on %s: %s, but a scope would help", needs, c, server, d.Rule)
				}
			}
		}
	})
}

func checkCure(t *rapid.T, ref reference, server string, c *Caller, needs []need, scopes []string) {
	t.Helper()
	if !ref.allows(server, plus(c, scopes...), needs) {
		t.Fatalf("%s for %+v on %s: scopes %q do not help", needs, c, server, scopes)
	}
	for set := range 1 << len(someScopes) {
		var smaller []string
		for i, name := range someScopes {
			if set&(1<<i) != 0 {
				smaller = append(smaller, name)
			}
		}
		if len(smaller) < len(scopes) && ref.allows(server, plus(c, smaller...), needs) {
			t.Fatalf("%s for %+v on %s: scopes %q, but %q do", needs, c, server, scopes, smaller)
		}
	}
}

// TestMoreScopesNeverDeny: rules only add up.
func TestMoreScopesNeverDeny(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policies := compiled(drawRegistry(t))
		policy, _ := policies.Server(rapid.SampledFrom(someServers).Draw(t, "server"))
		c := drawCaller(t)
		r, needs := drawRequest(t)
		more := plus(c, rapid.SampledFrom(someScopes).Draw(t, "more"))
		if Decide(policy, r, c).Allow && !Decide(policy, r, more).Allow {
			t.Fatalf("%s: allowed for %q, denied for %q", needs, c.Scopes, more.Scopes)
		}
	})
}

// TestDecisionIsStable: the same question has the same answer, in every
// compilation.
func TestDecisionIsStable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rs := drawRegistry(t)
		server, c := rapid.SampledFrom(someServers).Draw(t, "server"), drawCaller(t)
		r, _ := drawRequest(t)
		first, _ := compiled(rs).Server(server)
		slices.Reverse(rs)
		second, _ := compiled(rs).Server(server)
		if a, b := fmt.Sprintf("%+v", Decide(first, r, c)), fmt.Sprintf("%+v", Decide(second, r, c)); a != b {
			t.Fatalf("%s\n%s", a, b)
		}
	})
}

// TestVisibleIsWhatMayBeUsed: a list shows exactly what a call would be
// allowed for.
func TestVisibleIsWhatMayBeUsed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policies := compiled(drawRegistry(t))
		policy, ok := policies.Server(rapid.SampledFrom(someServers).Draw(t, "server"))
		c := drawCaller(t)
		if !ok || !policy.Accepts(c.Issuer) {
			return
		}
		set := policy.Effective(c)
		if rapid.Bool().Draw(t, "through metadata") {
			set = NewScopeSet(policy.Relevant(set))
		}
		for kind, method := range map[ListKind]string{Tools: "tools/call", Prompts: "prompts/get", Resources: "resources/read", ResourceTemplates: "resources/read"} {
			f := policy.Visible(set, kind)
			for _, target := range append([]string{"other"}, someTargets...) {
				field := rpcbody.Field{Value: target, Present: true}
				m := &rpcbody.Message{Kind: rpcbody.Request, Method: method, Name: field, URI: field}
				if got, want := f.Allows(target), Decide(policy, Request{Verb: "POST", Message: m}, c).Allow; got != want {
					t.Fatalf("list kind %d shows %q: %v, %s allows: %v", kind, target, got, method, want)
				}
				if f.All() && !f.Allows(target) {
					t.Fatalf("All, but not %q", target)
				}
			}
		}
	})
}
