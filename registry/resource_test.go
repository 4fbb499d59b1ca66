package registry_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/registry"
)

func TestParseKind(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]registry.Kind{
		"server": registry.KindServer, "Servers": registry.KindServer, "ISSUER": registry.KindIssuer, "scopes": registry.KindScope, "Group": registry.KindGroup, "revocations": registry.KindRevocation,
		"": "", "s": "", "sessionkey": "", "SessionKey": "", "SessionKeys": "", "Task": "", "tasks": "", "serverss": "",
	} {
		got, ok := registry.ParseKind(in)
		if got != want || ok != (want != "") {
			t.Errorf("ParseKind(%q) = %q, %v", in, got, ok)
		}
	}
}

func TestEncodePutsKindFirstAndKeepsMetadata(t *testing.T) {
	t.Parallel()
	g := exampleGroup()
	g.Metadata = registry.Metadata{Revision: 7, CreatedAt: time.Unix(0, 0).UTC(), UpdatedAt: time.UnixMilli(1500).UTC()}
	b, err := registry.Encode(g)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"kind":"Group","name":"/lob1/users","metadata":{"revision":7,"createdAt":"1970-01-01T00:00:00Z","updatedAt":"1970-01-01T00:00:01.5Z"},"issuer":"corp","scopes":["weather:read"]}`
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	back, err := registry.Decode(b)
	if diff := cmp.Diff(registry.Resource(g), back); diff != "" || err != nil {
		t.Errorf("(-want +got)\n%s%v", diff, err)
	}
}

func TestDecodeRefusesWhatEncodeDoesNotWrite(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"", "{}", "null", "[]", `{"kind":"Nothing"}`, `{"kind":"Group","name":7}`, `{"kind":"Group"`, `{"kind":"Server","name":"a","upstream":{"connectTimeout":5}}`} {
		if r, err := registry.Decode([]byte(in)); err == nil {
			t.Errorf("%s: %+v", in, r)
		}
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	server := func(change func(*registry.Server)) *registry.Server {
		s := exampleServer()
		change(s)
		return s
	}
	same := []registry.Resource{
		exampleServer(),
		server(func(s *registry.Server) { s.Metadata = registry.Metadata{Revision: 9, Generation: 9} }),
		server(func(s *registry.Server) { s.Access.Audiences = []string{} }),
	}
	other := []registry.Resource{
		exampleGroup(), exampleIssuer(), nil,
		server(func(s *registry.Server) { s.Name = "other" }),
		server(func(s *registry.Server) { s.Enabled = &yes }),
		server(func(s *registry.Server) { s.Enabled = &no }),
		server(func(s *registry.Server) { s.Tags = []string{"eu", "public"} }),
		server(func(s *registry.Server) { s.Tags = s.Tags[:1] }),
		server(func(s *registry.Server) { s.Upstream.TLS.ServerName = "x" }),
		server(func(s *registry.Server) { s.Upstream.Credential = nil }),
		server(func(s *registry.Server) { s.Upstream.IdleTimeout++ }),
	}
	for i, a := range same {
		for j, b := range append(same, other...) {
			if got, want := registry.Equal(a, b), j < len(same); got != want {
				t.Errorf("Equal(%d, %d) = %v", i, j, got)
			}
		}
	}
}

func TestStamp(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 678_999_999, time.FixedZone("", 3600))
	ms := time.Date(2026, 1, 2, 2, 4, 5, 678_000_000, time.UTC)
	s := exampleServer()
	first := registry.Stamp(s, nil, 3, now)
	if diff := cmp.Diff(registry.Metadata{Revision: 3, Generation: 3, CreatedAt: ms, UpdatedAt: ms}, *first.Meta()); diff != "" {
		t.Errorf("new (-want +got)\n%s", diff)
	}
	second := registry.Stamp(s, first, 4, now.Add(time.Hour))
	if diff := cmp.Diff(registry.Metadata{Revision: 4, Generation: 3, CreatedAt: ms, UpdatedAt: ms.Add(time.Hour)}, *second.Meta()); diff != "" {
		t.Errorf("changed (-want +got)\n%s", diff)
	}
	if s.Metadata != (registry.Metadata{}) {
		t.Errorf("the resource given was changed: %+v", s.Metadata)
	}
}

func TestPatternMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern registry.Pattern
		name    string
		want    bool
	}{
		{"a", "a", true},
		{"a", "A", false},
		{"a", "ab", false},
		{"a", "", false},
		{"a*", "a", true},
		{"a*", "ab", true},
		{"a*", "b", false},
		{"a*", "", false},
		{"a*", "A", false},
		{"*", "", true},
		{"*", "x", true},
		{"é", "e\u0301", false},
		{"", "", true},
		{"", "a", false},
		{"a*", "a*", true},
		{"a ", "a", false},
	} {
		if got := c.pattern.Match(c.name); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.name, got)
		}
	}
}

func TestDurationJSON(t *testing.T) {
	t.Parallel()
	var d registry.Duration
	if err := json.Unmarshal([]byte(`"1m30s"`), &d); err != nil || time.Duration(d) != 90*time.Second {
		t.Errorf("%v, %v", d, err)
	}
	for _, in := range []string{`5`, `"5"`, `""`, `null`, `"5 s"`, `{}`} {
		if err := d.UnmarshalJSON([]byte(in)); err == nil {
			t.Errorf("%s is accepted as %v", in, d)
		}
	}
}

func TestStorable(t *testing.T) {
	t.Parallel()
	for _, r := range append(examples(), &registry.SessionKey{Name: "k"}, &registry.Task{Name: "t"}) {
		if err := registry.Storable(r); err != nil {
			t.Errorf("%s: %v", r.Key(), err)
		}
	}
	for _, r := range []registry.Resource{nil, &registry.Group{}, &registry.Group{Name: "\xff"}, &registry.Group{Name: "g", Scopes: []string{""}}} {
		if err := registry.Storable(r); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("%v: %v", r, err)
		}
	}
}

func TestReferencesAreSortedAndDistinct(t *testing.T) {
	t.Parallel()
	s := &registry.Scope{Name: "s", Includes: []string{"b", "a", "b"}, Rules: []registry.Rule{{Servers: []string{"z", "*", "y"}}, {Servers: []string{"y"}}}}
	want := []registry.Key{key(registry.KindScope, "a"), key(registry.KindScope, "b"), key(registry.KindServer, "y"), key(registry.KindServer, "z")}
	if diff := cmp.Diff(want, s.References()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
