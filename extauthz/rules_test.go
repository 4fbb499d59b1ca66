package extauthz

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
)

// declaredRules reads the constants of rules.go, so that none is forgotten in
// the table.
func declaredRules(t *testing.T) []Rule {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "rules.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var rules []Rule
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for _, v := range spec.Values {
			if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				id, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				rules = append(rules, Rule(id))
			}
		}
		return true
	})
	return rules
}

func TestEveryRuleHasAnAnswer(t *testing.T) {
	t.Parallel()
	want := slices.DeleteFunc(declaredRules(t), func(r Rule) bool { return r == RuleGranted })
	for _, id := range rpcbody.Rules() {
		want = append(want, Rule(id))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, Rules()); diff != "" {
		t.Errorf("rules in rules.go and rpcbody.Rules() against the table of answers (-want +got):\n%s", diff)
	}
}

func TestAnswersAreSound(t *testing.T) {
	t.Parallel()
	id := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	for _, r := range Rules() {
		a := r.Answer()
		if !id.MatchString(string(r)) {
			t.Errorf("%s: not an id", r)
		}
		switch a.Status {
		case 200, 400, 401, 403, 404, 405, 413, 415, 502, 503:
		default:
			t.Errorf("%s: status %d", r, a.Status)
		}
		if a.Message == "" || !quotable(a.Message) || strings.Contains(a.Message, "=") {
			t.Errorf("%s: message %q", r, a.Message)
		}
		if (a.Status == 401) && !a.Challenge {
			t.Errorf("%s: a 401 without a challenge", r)
		}
		if a.OAuthError == "insufficient_scope" != (a.Status == 403 && a.Challenge) {
			t.Errorf("%s: status %d with error %q", r, a.Status, a.OAuthError)
		}
		if a.Challenge && a.Status != 401 && a.Status != 403 || a.Denial && a.Status != 403 {
			t.Errorf("%s: status %d, challenge %v, denial %v", r, a.Status, a.Challenge, a.Denial)
		}
		if (a.Status == 405) != (a.Allow != "") || (a.Status == 503) != (a.RetryAfter > 0) {
			t.Errorf("%s: status %d, Allow %q, Retry-After %d", r, a.Status, a.Allow, a.RetryAfter)
		}
		// MCP reserves -32099 to -32020; of those only what it defines may be used.
		if a.Code >= -32099 && a.Code <= -32020 && a.Code != -32020 && a.Code != -32021 && a.Code != -32022 {
			t.Errorf("%s: code %d is reserved", r, a.Code)
		}
		if a.Code == -32002 || a.Code == -32042 || a.Code >= 0 {
			t.Errorf("%s: code %d", r, a.Code)
		}
	}
}

func TestUnknownRuleAnswers503(t *testing.T) {
	t.Parallel()
	for _, r := range []Rule{"", "nonsense", RuleGranted} {
		if got := r.Answer().Status; got != 503 {
			t.Errorf("%q: status %d, want 503", r, got)
		}
	}
}
