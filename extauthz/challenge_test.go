package extauthz

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func testPolicy() *ServerPolicy {
	return &ServerPolicy{Name: "weather", MetadataURL: "https://gw.example.com/.well-known/oauth-protected-resource/weather/mcp", Baseline: []string{"a", "b"}}
}

func TestChallenge(t *testing.T) {
	t.Parallel()
	const metadata = `resource_metadata="https://gw.example.com/.well-known/oauth-protected-resource/weather/mcp"`
	p := testPolicy()
	for _, c := range []struct {
		name string
		d    Decision
		want string
	}{
		{"no token", p.Refuse(RuleTokenMissing, ""), `Bearer ` + metadata + `, scope="a b"`},
		{"no token, no baseline", Decision{Rule: RuleTokenMissing}, `Bearer ` + metadata},
		{
			"expired", p.Refuse(RuleTokenExpired, ""),
			`Bearer error="invalid_token", scope="a b", ` + metadata + `, error_description="the access token expired"`,
		},
		{
			"two tokens", p.Refuse(RuleTokenDuplicate, ""),
			`Bearer error="invalid_request", scope="a b", ` + metadata + `, error_description="more than one access token"`,
		},
		{
			"insufficient scope",
			Decision{Rule: RuleScopeInsufficient, Scopes: []string{"w"}},
			`Bearer error="insufficient_scope", scope="w", ` + metadata,
		},
		{"no scope helps", Decision{Rule: RuleNoScopeHelps}, ""},
		{"keys unavailable", p.Refuse(RuleKeysUnavailable, ""), ""},
		{"unknown rule", p.Refuse("nonsense", ""), ""},
		{"allow", Decision{Allow: true, Rule: RuleTokenMissing}, ""},
		{
			"names that are no scope-token",
			Decision{Rule: RuleScopeInsufficient, Scopes: []string{`a"`, `b\`, "c d", "é", "e\n", "", "ok"}},
			`Bearer error="insufficient_scope", scope="ok", ` + metadata,
		},
	} {
		if diff := cmp.Diff(c.want, c.d.Challenge(p)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	if got := (Decision{Rule: RuleTokenMissing}).Challenge(nil); got != "" {
		t.Errorf("for an unknown server: %q", got)
	}
}

// TestChallengeNeverBreaksOut: a URL that would need an escape is left out, as
// clients read none.
func TestChallengeNeverBreaksOut(t *testing.T) {
	t.Parallel()
	for _, url := range []string{`https://x/", error="`, `https://x/\`, "https://x/\r\nA: b", "https://x/é"} {
		p := &ServerPolicy{MetadataURL: url, Baseline: []string{"a"}}
		if got := p.Refuse(RuleTokenMissing, "").Challenge(p); got != `Bearer scope="a"` {
			t.Errorf("%q: %s", url, got)
		}
	}
}

func TestChallengeIsBounded(t *testing.T) {
	t.Parallel()
	d := Decision{Rule: RuleTokenMissing}
	for i := range 10_000 {
		d.Scopes = append(d.Scopes, fmt.Sprintf("scope-%05d", i))
	}
	got := d.Challenge(testPolicy())
	if len(got) > maxChallengeScopes+200 || !strings.Contains(got, `scope="scope-00000 scope-00001 `) || !strings.HasSuffix(got, `"`) {
		t.Errorf("%d bytes: %.100s…", len(got), got)
	}
}

// firstMatch reads a parameter as the TypeScript client does: the first match
// of a regular expression anywhere in the header.
func firstMatch(header, name string) string {
	m := regexp.MustCompile(name + `=(?:"([^"]+)"|([^\s,]+))`).FindStringSubmatch(header)
	if m == nil {
		return ""
	}
	return m[1] + m[2]
}

// parseChallenge reads the header by RFC 9110 section 11.6.1 and 5.6.4.
func parseChallenge(header string) (params [][2]string, err error) {
	rest, ok := strings.CutPrefix(header, "Bearer ")
	if !ok {
		return nil, fmt.Errorf("scheme of %q", header)
	}
	for {
		name, tail, ok := strings.Cut(rest, `="`)
		if !ok || name == "" || strings.ContainsAny(name, ` ",=\`) {
			return nil, fmt.Errorf("parameter at %q", rest)
		}
		end := strings.IndexAny(tail, `"\`)
		if end < 0 || tail[end] == '\\' {
			return nil, fmt.Errorf("value at %q", tail)
		}
		params = append(params, [2]string{name, tail[:end]})
		if rest = tail[end+1:]; rest == "" {
			return params, nil
		}
		if rest, ok = strings.CutPrefix(rest, ", "); !ok {
			return nil, fmt.Errorf("separator at %q", rest)
		}
	}
}

// FuzzChallenge: whatever scopes the registry may come to hold, every challenge
// is read alike by a strict parser and by the regular expressions of clients.
func FuzzChallenge(f *testing.F) {
	f.Add("weather:read weather:write", uint8(0))
	f.Add(`a" error="x`, uint8(1))
	f.Add("scope=\"x\"\x00 \\ resource_metadata=", uint8(2))
	rules := slices.DeleteFunc(Rules(), func(r Rule) bool { return !r.Answer().Challenge })
	f.Fuzz(func(t *testing.T, scopes string, rule uint8) {
		p := testPolicy()
		d := Decision{Rule: rules[int(rule)%len(rules)], Scopes: strings.Split(scopes, " ")}
		header := d.Challenge(p)
		params, err := parseChallenge(header)
		if err != nil {
			t.Fatalf("%q: %v", header, err)
		}
		if last := params[len(params)-1][0]; strings.Contains(header, "error_description") && last != "error_description" {
			t.Errorf("%q: description is not last", header)
		}
		got := make(map[string]string)
		for _, kv := range params {
			if _, twice := got[kv[0]]; twice {
				t.Errorf("%q: %s twice", header, kv[0])
			}
			got[kv[0]] = kv[1]
		}
		if got["resource_metadata"] != p.MetadataURL || got["error"] != d.Rule.Answer().OAuthError {
			t.Errorf("%q", header)
		}
		for _, name := range []string{"resource_metadata", "scope"} {
			// A scope may itself be named "resource_metadata=…"; no registry can
			// mean that as an attack on its own clients.
			if !strings.Contains(scopes, "=") && firstMatch(header, name) != got[name] {
				t.Errorf("%q: first match of %s is %q, want %q", header, name, firstMatch(header, name), got[name])
			}
		}
		for name := range strings.FieldsSeq(got["scope"]) {
			if !slices.Contains(d.Scopes, name) {
				t.Errorf("%q: scope %q was not asked for", header, name)
			}
		}
	})
}
