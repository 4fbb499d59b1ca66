package extauthz

import (
	"fmt"
	"testing"

	"github.com/mcpgate/mcpgate/registry"
)

// manyServers is a registry in which each server has a scope of its own, beside
// three for every server and one that includes every scope there is.
func manyServers(n int) []registry.Resource {
	admin := &registry.Scope{Name: "admin"}
	rs := []registry.Resource{
		admin, &registry.Issuer{Name: "corp", Issuer: "https://corp"},
		&registry.Group{Name: "users", Scopes: []string{"everyone"}},
		scopeOn("everyone", "*", "help"), scopeOn("readers", "*", "get_*"), scopeOn("writers", "*", "set_*"),
	}
	for i := range n {
		rs = append(rs, benchServer(i, 1), benchScope(i))
		admin.Includes = append(admin.Includes, fmt.Sprintf("s%d:use", i))
	}
	return rs
}

func benchServer(i int, generation int64) *registry.Server {
	return &registry.Server{Name: fmt.Sprintf("s%d", i), Metadata: registry.Metadata{Generation: generation}}
}

func benchScope(i int) *registry.Scope {
	return scopeOn(fmt.Sprintf("s%d:use", i), fmt.Sprintf("s%d", i), "get_forecast", "set_alert", "list_*")
}

var benchSizes = []int{10, 100_000}

func BenchmarkDecide(b *testing.B) {
	for _, n := range benchSizes {
		p := compiled(manyServers(n))
		for name, c := range map[string]*Caller{
			"direct":   {Issuer: "corp", Scopes: []string{"openid", "profile", "s7:use"}},
			"included": {Issuer: "corp", Scopes: []string{"openid", "profile", "admin"}},
			"group":    {Issuer: "corp", Scopes: []string{"openid", "s7:use"}, Groups: []string{"users"}},
			"denied":   {Issuer: "corp", Scopes: []string{"openid", "profile", "s8:use"}},
		} {
			r := call("set_alert")
			b.Run(fmt.Sprintf("%s/servers=%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					s, _ := p.Server("s7")
					if d := Decide(s, r, c); d.Allow == (name == "denied") {
						b.Fatal(d.Reason)
					}
				}
			})
		}
	}
}

func BenchmarkApply(b *testing.B) {
	for _, n := range benchSizes {
		p := compiled(manyServers(n))
		for name, cs := range map[string][2][]registry.Change{
			"server":   {change(benchServer(7, 2)), change(benchServer(7, 3))},
			"scope":    {change(benchScope(7)), change(scopeOn("s7:use", "s7", "x"))},
			"wildcard": {change(scopeOn("readers", "*", "get_*")), change(scopeOn("readers", "*", "x"))},
			"group":    {change(&registry.Group{Name: "users"}), change(&registry.Group{Name: "users", Scopes: []string{"readers"}})},
		} {
			b.Run(fmt.Sprintf("%s/servers=%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					p.Apply(registry.Event{Revision: int64(i + 2), Changes: cs[i%2]})
				}
			})
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	rs := manyServers(100_000)
	b.ResetTimer()
	for b.Loop() {
		compiled(rs)
	}
}
