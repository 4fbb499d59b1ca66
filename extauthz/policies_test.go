package extauthz

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
	"github.com/mcpgate/mcpgate/registry"
)

// seen is everything that a reader can come upon in a view.
type seen struct {
	Servers   map[string]*ServerPolicy
	Closures  map[string][]string
	Includers map[string][]string
	Groups    map[string]*registry.Group
	Issuers   []issuer
	Wild      grants
}

func see(p *Policies) seen {
	v := p.view.Load()
	return seen{v.servers.contents(), v.closures.contents(), v.includers.contents(), v.groups.contents(), v.issuers, v.wild}
}

var seenOptions = cmp.Options{
	cmp.AllowUnexported(ServerPolicy{}, issuer{}, grant{}, rule{}, matcher{}),
	cmpopts.IgnoreFields(ServerPolicy{}, "view", "upstreams"),
	cmpopts.EquateEmpty(),
}

// TestApplyEqualsLoad: after any sequence of events the policies are those of a
// fresh load of what the registry then holds.
func TestApplyEqualsLoad(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		state := make(map[registry.Key]registry.Resource)
		put := func(rs ...registry.Resource) {
			for _, r := range rs {
				state[r.Key()] = r
			}
		}
		put(drawRegistry(t)...)
		resources := func() (rs []registry.Resource) {
			for _, r := range state {
				rs = append(rs, r)
			}
			return rs
		}
		live := compiled(resources())
		for revision := int64(2); revision < 8; revision++ {
			var e registry.Event
			e.Revision = revision
			for range rapid.IntRange(1, 3).Draw(t, "changes") {
				c := drawChange(t, revision)
				if slices.ContainsFunc(e.Changes, func(o registry.Change) bool { return o.Key == c.Key }) {
					continue
				}
				e.Changes = append(e.Changes, c)
				if c.Resource == nil {
					delete(state, c.Key)
				} else {
					put(c.Resource)
				}
			}
			if rapid.IntRange(0, 9).Draw(t, "reload") == 0 {
				live.Load(registry.Snapshot{Revision: revision, Resources: resources()})
			} else {
				live.Apply(e)
			}
			if diff := cmp.Diff(see(compiled(resources())), see(live), seenOptions); diff != "" {
				t.Fatalf("revision %d (-load +apply):\n%s", revision, diff)
			}
			if live.Revision() != revision {
				t.Fatalf("Revision() = %d, want %d", live.Revision(), revision)
			}
		}
	})
}

func drawChange(t *rapid.T, revision int64) registry.Change {
	var r registry.Resource
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		r = drawServer(t, rapid.SampledFrom(someServers).Draw(t, "server"), revision)
	case 1:
		r = drawGroup(t, rapid.SampledFrom(someGroups).Draw(t, "group"))
	case 2:
		name := rapid.SampledFrom(someIssuers).Draw(t, "issuer")
		r = &registry.Issuer{Name: name, Issuer: fmt.Sprintf("https://%s/%d", name, revision)}
	default:
		r = drawScope(t, rapid.SampledFrom(someScopes).Draw(t, "scope"))
	}
	if rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
		return registry.Change{Key: r.Key()}
	}
	return registry.Change{Key: r.Key(), Resource: r}
}

func change(rs ...registry.Resource) (cs []registry.Change) {
	for _, r := range rs {
		cs = append(cs, registry.Change{Key: r.Key(), Resource: r})
	}
	return cs
}

func call(tool string) Request {
	return Request{Verb: "POST", Message: &rpcbody.Message{
		Kind: rpcbody.Request, Method: "tools/call", ID: "1", Name: rpcbody.Field{Value: tool, Present: true},
	}}
}

// TestReadersSeeOneRevision: two scopes change together, and no reader meets
// the one with the other's past.
func TestReadersSeeOneRevision(t *testing.T) {
	t.Parallel()
	grants := []registry.Rule{{Servers: []string{"s"}, Tools: []registry.Pattern{"x"}}}
	// In even revisions a grants and b does not include it, in odd ones the
	// other way round: b never grants, a mixture would.
	even := change(&registry.Scope{Name: "a", Rules: grants}, &registry.Scope{Name: "b", Rules: []registry.Rule{{Servers: []string{"s"}}}})
	odd := change(&registry.Scope{Name: "a"}, &registry.Scope{Name: "b", Includes: []string{"a"}, Rules: []registry.Rule{{Servers: []string{"s"}}}})
	p := NewPolicies(Config{})
	p.Apply(registry.Event{Revision: 2, Changes: append(change(&registry.Server{Name: "s"}), even...)})

	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				s, ok := p.Server("s")
				if !ok {
					t.Error("the server is gone")
					return
				}
				if d := Decide(s, call("x"), &Caller{Scopes: []string{"b"}}); d.Allow {
					t.Errorf("allowed by %q", d.Grant)
					return
				}
				if s.Visible(s.Effective(&Caller{Scopes: []string{"b"}}), Tools).Allows("x") {
					t.Error("visible")
					return
				}
			}
		})
	}
	for revision := int64(3); revision < 600; revision++ {
		p.Apply(registry.Event{Revision: revision, Changes: [][]registry.Change{even, odd}[revision%2]})
	}
	close(stop)
	readers.Wait()
}

func TestUpstreamRetention(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := NewPolicies(Config{})
	server := func(generation int64, at time.Duration) *registry.Server {
		return &registry.Server{
			Name:     "s",
			Metadata: registry.Metadata{Generation: generation, UpdatedAt: start.Add(at)},
			Upstream: registry.Upstream{Credential: &registry.Credential{Secret: registry.SecretRef(fmt.Sprint("env:G", generation))}},
		}
	}
	apply := func(rs ...registry.Resource) {
		p.Apply(registry.Event{Revision: p.Revision() + 1, Changes: change(rs...)})
	}
	kept := func() (gs []int64) {
		s, _ := p.Server("s")
		for g := range int64(100) {
			u, ok := s.Upstream(g)
			if !ok {
				continue
			}
			if want := registry.SecretRef(fmt.Sprint("env:G", g)); u.Generation != g || u.Credential.Secret != want {
				t.Errorf("upstream of generation %d: %+v", g, u)
			}
			gs = append(gs, g)
		}
		return gs
	}
	want := func(what string, gs ...int64) {
		t.Helper()
		if diff := cmp.Diff(gs, kept(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	apply(server(1, 0))
	want("first", 1)
	apply(server(2, time.Second))
	want("replaced", 1, 2)
	apply(server(2, 30*time.Second))
	want("changed without a new generation", 1, 2)
	apply(server(3, 40*time.Second))
	want("replaced again", 1, 2, 3)
	// Another resource's change moves the time: 1 was replaced at 1 s, 2 at 40 s.
	apply(&registry.Group{Name: "g", Metadata: registry.Metadata{UpdatedAt: start.Add(61 * time.Second)}})
	want("exactly one minute later", 1, 2, 3)
	apply(&registry.Group{Name: "g", Metadata: registry.Metadata{UpdatedAt: start.Add(62 * time.Second)}})
	want("more than a minute later", 2, 3)
	for g := int64(4); g < 20; g++ {
		apply(server(g, 62*time.Second))
	}
	want("many changes at once", 11, 12, 13, 14, 15, 16, 17, 18, 19)
	p.Load(registry.Snapshot{Revision: 100, Resources: []registry.Resource{server(20, 63*time.Second)}})
	want("replaced by a load", 12, 13, 14, 15, 16, 17, 18, 19, 20)
	p.Apply(registry.Event{Revision: 101, Changes: []registry.Change{{Key: server(0, 0).Key()}}})
	apply(server(21, 64*time.Second))
	want("deleted and made again", 21)
}

func TestServerFacts(t *testing.T) {
	t.Parallel()
	p := NewPolicies(Config{ExternalURL: "https://gw.example.com/"})
	p.Load(registry.Snapshot{Revision: 7, Resources: []registry.Resource{
		&registry.Issuer{Name: "b", Issuer: "https://b"}, &registry.Issuer{Name: "a", Issuer: "https://a"},
		&registry.Server{Name: "plain"},
		&registry.Server{Name: "strict", Access: registry.Access{
			Issuers: []string{"b"}, Audiences: []string{"api://x"}, BaselineScopes: []string{"z", "y"},
		}},
		&registry.Scope{Name: "two", Rules: []registry.Rule{{Servers: []string{"plain", "strict"}}, {Servers: []string{"plain"}}}},
		&registry.Scope{Name: "one", Rules: []registry.Rule{{Servers: []string{"plain"}}}},
		&registry.Scope{Name: "any", Rules: []registry.Rule{{Servers: []string{"*"}}}},
	}})
	plain, _ := p.Server("plain")
	strict, _ := p.Server("strict")
	for _, got := range []struct {
		what      string
		got, want any
	}{
		{"resource", plain.Resource, "https://gw.example.com/plain/mcp"},
		{"metadata URL", plain.MetadataURL, "https://gw.example.com/.well-known/oauth-protected-resource/plain/mcp"},
		{"default audience", plain.Audiences, []string{"https://gw.example.com/plain/mcp"}},
		{"audiences", strict.Audiences, []string{"api://x"}},
		{"default baseline", plain.Baseline, []string{"one", "two"}},
		{"baseline", strict.Baseline, []string{"z", "y"}},
		{"every issuer", plain.IssuerURLs(), []string{"https://a", "https://b"}},
		{"its issuers", strict.IssuerURLs(), []string{"https://b"}},
		{"revision", p.Revision(), int64(7)},
	} {
		if diff := cmp.Diff(got.want, got.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", got.what, diff)
		}
	}
}
