package extauthz

import (
	"testing"

	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
	"github.com/mcpgate/mcpgate/registry"
)

// TestMethods has a line for every method of a client. The columns are the
// versions (2024-11-05 to 2025-06-18, 2025-11-25, 2026-07-28), what grants it
// and what its reply needs.
func TestMethods(t *testing.T) {
	t.Parallel()
	const old = V20241105 | V20250326 | V20250618
	want := []struct {
		name     string
		versions Versions
		grant    Grant
		reply    Reply
	}{
		{"initialize", old | V20251125, GrantServer, Session},
		{"server/discover", V20260728, GrantServer, Plain},
		{"ping", old | V20251125, GrantServer, Plain},
		{"logging/setLevel", old | V20251125, GrantServer, Plain},
		{"tools/list", old | V20251125 | V20260728, GrantServer, List},
		{"prompts/list", old | V20251125 | V20260728, GrantServer, List},
		{"resources/list", old | V20251125 | V20260728, GrantServer, List},
		{"resources/templates/list", old | V20251125 | V20260728, GrantServer, List},
		{"tools/call", old | V20251125 | V20260728, GrantTools, Plain},
		{"prompts/get", old | V20251125 | V20260728, GrantPrompts, Plain},
		{"resources/read", old | V20251125 | V20260728, GrantResources, Plain},
		{"resources/subscribe", old | V20251125, GrantResources, Plain},
		{"resources/unsubscribe", old | V20251125, GrantResources, Plain},
		{"subscriptions/listen", V20260728, GrantSubscriptions, Resume},
		{"completion/complete", old | V20251125 | V20260728, GrantRef, Plain},
		{"tasks/get", V20251125 | V20260728, GrantTask, Plain},
		{"tasks/cancel", V20251125 | V20260728, GrantTask, Plain},
		{"tasks/result", V20251125, GrantTask, Plain},
		{"tasks/update", V20260728, GrantTask, Plain},
		{"tasks/list", V20251125, GrantNone, Plain},
		{"skills/list", V20260728, GrantMethods, Plain},
		{"skills/get", V20260728, GrantMethods, Plain},
		{"resources/directory/read", V20260728, GrantMethods, Plain},
		{"notifications/initialized", old | V20251125, GrantServer, Plain},
		{"notifications/roots/list_changed", old | V20251125, GrantServer, Plain},
		{"notifications/cancelled", old | V20251125 | V20260728, GrantServer, Plain},
		{"notifications/progress", old | V20251125 | V20260728, GrantServer, Plain},
		{"notifications/tasks/status", V20251125, GrantServer, Plain},
	}
	for _, w := range want {
		m, ok := LookupMethod(w.name)
		if !ok || m.Versions != w.versions || m.Grant != w.grant || m.Reply != w.reply {
			t.Errorf("%s: %+v, want %+v", w.name, m, w)
		}
	}
	for _, m := range Methods() {
		if m.StartsTask != (m.Name == "tools/call") {
			t.Errorf("%s: starts tasks: %v", m.Name, m.StartsTask)
		}
	}
	if got := len(Methods()); got != len(want) {
		t.Errorf("%d methods in the table, %d in the test", got, len(want))
	}
}

func TestUnknownMethods(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"", "Tools/call", "tools/call ", "tools/call\x00", "tools", "tools/", "tools/*", "*", "notifications",
		"sampling/createMessage", "roots/list", "elicitation/create",
	} {
		if m, ok := LookupMethod(name); ok {
			t.Errorf("%q: %+v", name, m)
		}
	}
}

// TestMethodsGrantOnlyWhatNoRowGoverns: naming a governed method in `methods`
// gives nothing.
func TestMethodsGrantOnlyWhatNoRowGoverns(t *testing.T) {
	t.Parallel()
	r := registry.Rule{Servers: []string{"s"}}
	for _, m := range Methods() {
		r.Methods = append(r.Methods, m.Name)
	}
	p := compiled([]registry.Resource{&registry.Server{Name: "s"}, &registry.Scope{Name: "a", Rules: []registry.Rule{r}}})
	s, _ := p.Server("s")
	for _, meth := range Methods() {
		target := rpcbody.Field{Value: "t", Present: true}
		version := rpcbody.Field{Value: meth.Versions.Names()[0], Present: true}
		m := &rpcbody.Message{Kind: rpcbody.Request, ID: "1", Method: meth.Name, Name: target, URI: target}
		if meth.Target == TargetTask {
			m.TaskID = target
		}
		m.Ref = rpcbody.Ref{Type: rpcbody.Field{Value: "ref/prompt", Present: true}, Name: target}
		m.Resources = []string{"t"}
		if meth.Notification {
			m.Kind = rpcbody.Notification
		}
		req := Request{Verb: "POST", Message: m}
		if meth.Versions&Modern != 0 {
			m.MetaVersion = version
			req.Mirrored = Mirrored{Version: version, Method: rpcbody.Field{Value: meth.Name, Present: true}}
			if meth.NameRequired {
				req.Mirrored.Name = target
			}
		}
		want := meth.Grant == GrantServer || meth.Grant == GrantMethods
		if d := Decide(s, req, &Caller{Scopes: []string{"a"}}); d.Allow != want {
			t.Errorf("%s: allow %v (%s), want %v", meth.Name, d.Allow, d.Rule, want)
		}
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	if got := (Legacy | Modern).String(); got != "2026-07-28 2025-11-25 2025-06-18 2025-03-26 2024-11-05" {
		t.Errorf("String() = %q", got)
	}
	for _, s := range []string{"", "2026-07-2", "2026-07-28 ", "2025-11-24", "draft"} {
		if v, ok := ParseVersion(s); ok {
			t.Errorf("ParseVersion(%q) = %s", s, v)
		}
	}
}
