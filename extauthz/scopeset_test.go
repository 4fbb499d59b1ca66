package extauthz

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestParseScopeNames(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][]string{
		"":           nil,
		" ":          nil,
		"b a":        {"a", "b"},
		"a  b a ":    {"a", "b"},
		"a\tb":       {"a\tb"},
		"a\u00a0b":   {"a\u00a0b"},
		"a\nb c\r\n": {"a\nb", "c\r\n"},
	} {
		set := ParseScopeNames(in)
		if diff := cmp.Diff(want, set.Names(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", in, diff)
		}
		for _, name := range want {
			if !set.Has(name) {
				t.Errorf("%q has not %q", in, name)
			}
		}
	}
}

func TestScopeSetIncludes(t *testing.T) {
	t.Parallel()
	s := ScopeSet{direct: []string{"z"}, included: [][]string{{"a", "c"}, {"b", "c"}}}
	if got := s.String(); got != "a b c z" {
		t.Errorf("String() = %q", got)
	}
	if !s.Has("b") || s.Has("d") {
		t.Errorf("Has(b) = %v, Has(d) = %v", s.Has("b"), s.Has("d"))
	}
}

func FuzzParseScopeNames(f *testing.F) {
	f.Add("weather:read weather:write")
	f.Fuzz(func(t *testing.T, in string) {
		set := ParseScopeNames(in)
		again := ParseScopeNames(set.String())
		if diff := cmp.Diff(set.Names(), again.Names(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%q read back (-want +got):\n%s", in, diff)
		}
	})
}

// TestVisitFindsTheIntersection covers both ways in which grants and a closure
// are walked.
func TestVisitFindsTheIntersection(t *testing.T) {
	t.Parallel()
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-e]{1,2}`), 0, 8, rapid.ID[string])
	rapid.Check(t, func(t *rapid.T) {
		var gs grants
		want := map[string]bool{}
		set := ScopeSet{direct: names.Draw(t, "direct")}
		for range rapid.IntRange(0, 2).Draw(t, "closures") {
			var closure []string
			for _, n := range names.Draw(t, "closure") {
				closure = with(closure, n)
			}
			set.included = append(set.included, closure)
		}
		var sorted []string
		for _, n := range names.Draw(t, "grants") {
			sorted = with(sorted, n)
		}
		for _, n := range sorted {
			gs = append(gs, grant{scope: n})
			if set.Has(n) {
				want[n] = true
			}
		}
		got := map[string]bool{}
		gs.visit(set, func(g *grant) bool { got[g.scope] = true; return true })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}
