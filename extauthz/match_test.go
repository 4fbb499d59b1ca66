package extauthz

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/mcpgate/mcpgate/registry"
)

// TestMatcherAgreesWithPattern compares the compiled lists with the one place
// that says what a pattern is.
func TestMatcherAgreesWithPattern(t *testing.T) {
	t.Parallel()
	pattern := rapid.StringMatching(`[ab]{0,3}\*?|[ab]{1,3}|é\*`)
	rapid.Check(t, func(t *rapid.T) {
		var patterns []registry.Pattern
		for _, p := range rapid.SliceOfN(pattern, 0, 6).Draw(t, "patterns") {
			patterns = append(patterns, registry.Pattern(p))
		}
		name := rapid.StringMatching(`[ab]{0,5}|é[ab]?|[ab]\*`).Draw(t, "name")
		m := compileMatcher(patterns)
		want := false
		for _, p := range patterns {
			want = want || p.Match(name)
		}
		if _, got := m.match(name); got != want {
			t.Fatalf("%q against %q: %v, want %v", name, patterns, got, want)
		}
		if m.empty() != (len(patterns) == 0) {
			t.Fatalf("empty() of %q: %v", patterns, m.empty())
		}
	})
}

func TestMatcherIsNoRegularExpression(t *testing.T) {
	t.Parallel()
	m := compileMatcher([]registry.Pattern{"get.forecast", "a.*", "get_[a-z]+", "Tool"})
	for name, want := range map[string]bool{
		"get.forecast": true, "get_forecast": false, "a.": true, "a.x": true, "ab": false,
		"get_x": false, "get_[a-z]+": true, "tool": false, "Tool ": false, "Tool\x00": false,
		"\u0054ool": true, "Ｔool": false, "": false,
	} {
		if _, got := m.match(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

func TestMatcherCloseness(t *testing.T) {
	t.Parallel()
	m := compileMatcher([]registry.Pattern{"*", "get_*", "get_a"})
	for name, want := range map[string]closeness{"get_a": exactly, "get_b": byPrefix, "x": byAny} {
		if got, ok := m.match(name); !ok || got != want {
			t.Errorf("%q: %v, %v, want %v", name, got, ok, want)
		}
	}
}
