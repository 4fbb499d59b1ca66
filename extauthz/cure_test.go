package extauthz

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
	"github.com/mcpgate/mcpgate/registry"
)

func scopeOn(name, server string, tools ...registry.Pattern) *registry.Scope {
	return &registry.Scope{Name: name, Rules: []registry.Rule{{Servers: []string{server}, Tools: tools}}}
}

// TestChallengeNamesTheScopeThatGrantsLeast has, in each case, the better scope
// sort after the worse by name.
func TestChallengeNamesTheScopeThatGrantsLeast(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		scopes []registry.Resource
		want   string
	}{
		{"a server by name before every server", []registry.Resource{scopeOn("a", "*", "x"), scopeOn("b", "s", "x")}, "b"},
		{"a server by name with a prefix before every server", []registry.Resource{scopeOn("a", "*", "x"), scopeOn("b", "s", "*")}, "b"},
		{"an exact name before a prefix", []registry.Resource{scopeOn("a", "s", "x*"), scopeOn("b", "s", "x")}, "b"},
		{"a prefix before any", []registry.Resource{scopeOn("a", "s", "*"), scopeOn("b", "s", "x*")}, "b"},
		{
			"an exact name before a prefix, whatever else the scopes grant",
			[]registry.Resource{scopeOn("a", "s", "x*"), &registry.Scope{Name: "b", Rules: []registry.Rule{{
				Servers: []string{"s"}, Tools: []registry.Pattern{"x"}, Prompts: []registry.Pattern{"*"},
			}}}},
			"b",
		},
		{"fewer names", []registry.Resource{scopeOn("a", "s", "x", "y"), scopeOn("b", "s", "x")}, "b"},
		{
			"fewer servers",
			[]registry.Resource{&registry.Scope{Name: "a", Rules: []registry.Rule{{Servers: []string{"s", "s2"}, Tools: []registry.Pattern{"x"}}}}, scopeOn("b", "s", "x")},
			"b",
		},
		{
			"its own rule before what it includes",
			[]registry.Resource{&registry.Scope{Name: "a", Includes: []string{"b"}}, scopeOn("b", "s", "x")},
			"b",
		},
		{
			"including nothing before including something",
			[]registry.Resource{
				&registry.Scope{Name: "a", Includes: []string{"c"}, Rules: scopeOn("", "s", "x").Rules}, scopeOn("b", "s", "x"), scopeOn("c", "s"),
			},
			"b",
		},
		{"the name decides", []registry.Resource{scopeOn("b", "s", "x"), scopeOn("a", "s", "x")}, "a"},
	} {
		p := compiled(append(c.scopes, &registry.Server{Name: "s"}, &registry.Server{Name: "s2"}))
		s, _ := p.Server("s")
		d := Decide(s, call("x"), &Caller{})
		if diff := cmp.Diff([]string{c.want}, d.Scopes); diff != "" {
			t.Errorf("%s: %s (-want +got):\n%s", c.name, d.Rule, diff)
		}
	}
}

func listen(uris ...string) Request {
	v := rpcbody.Field{Value: "2026-07-28", Present: true}
	const method = "subscriptions/listen"
	return Request{
		Verb:     "POST",
		Message:  &rpcbody.Message{Kind: rpcbody.Request, Method: method, ID: "1", MetaVersion: v, Resources: uris},
		Mirrored: Mirrored{Version: v, Method: rpcbody.Field{Value: method, Present: true}},
	}
}

func reader(name string, uris ...registry.Pattern) *registry.Scope {
	return &registry.Scope{Name: name, Rules: []registry.Rule{{Servers: []string{"s"}, Resources: uris}}}
}

func TestChallengeForSeveralTargets(t *testing.T) {
	t.Parallel()
	p := compiled([]registry.Resource{
		&registry.Server{Name: "s"},
		reader("one", "1"), reader("two", "2"), reader("three", "3"), reader("pair", "1", "2"),
		&registry.Scope{Name: "role", Includes: []string{"two", "three"}},
		reader("everything", "*"),
	})
	s, _ := p.Server("s")
	for _, c := range []struct {
		have []string
		uris []string
		want []string
	}{
		{nil, []string{"1", "2"}, []string{"pair"}},
		{nil, []string{"2", "3"}, []string{"everything"}}, // a rule of its own comes before an include
		{[]string{"one"}, []string{"1", "2"}, []string{"two"}},
		{[]string{"pair"}, []string{"1", "2", "3"}, []string{"three"}},
		{[]string{"role"}, []string{"1", "2", "3"}, []string{"one"}},
		{nil, []string{"1", "1", "1"}, []string{"one"}},
		{nil, []string{"1", "9"}, []string{"everything"}},
	} {
		d := Decide(s, listen(c.uris...), &Caller{Scopes: c.have})
		if diff := cmp.Diff(c.want, d.Scopes); diff != "" {
			t.Errorf("%q for %q: %s (-want +got):\n%s", c.uris, c.have, d.Rule, diff)
		}
	}
}

// TestGreedyIsNotEnough: the scope that covers most is not in the smallest set.
func TestGreedyIsNotEnough(t *testing.T) {
	t.Parallel()
	p := compiled([]registry.Resource{
		&registry.Server{Name: "s"}, reader("big", "1", "2", "4", "5"),
		reader("left", "1", "2", "3"), reader("right", "4", "5", "6"),
	})
	s, _ := p.Server("s")
	d := Decide(s, listen("1", "2", "3", "4", "5", "6"), &Caller{})
	if diff := cmp.Diff([]string{"left", "right"}, d.Scopes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestCureIsBounded: the largest request against a registry made to slow the
// search down still gets an answer that helps.
func TestCureIsBounded(t *testing.T) {
	t.Parallel()
	rs := []registry.Resource{&registry.Server{Name: "s"}}
	var uris []string
	for i := range rpcbody.MaxList {
		a, b := fmt.Sprint("u", i), fmt.Sprint("u", (i*7+3)%rpcbody.MaxList)
		uris = append(uris, a)
		rs = append(rs, reader(fmt.Sprintf("r%04d", i), registry.Pattern(a), registry.Pattern(b)))
	}
	for i := range 300 {
		rs = append(rs, &registry.Scope{Name: fmt.Sprint("role", i), Includes: []string{fmt.Sprintf("r%04d", i), fmt.Sprintf("r%04d", i+1)}})
	}
	s, _ := compiled(rs).Server("s")
	d := Decide(s, listen(uris...), &Caller{})
	if d.Rule != RuleScopeInsufficient || !Decide(s, listen(uris...), &Caller{Scopes: d.Scopes}).Allow {
		t.Errorf("%s, %d scopes", d.Rule, len(d.Scopes))
	}
	if !slices.IsSorted(d.Scopes) {
		t.Errorf("not in order: %q", d.Scopes)
	}
}
