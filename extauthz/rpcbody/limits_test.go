package rpcbody

import (
	"errors"
	"strings"
	"testing"
)

// Each limit holds at its value and not at one more, for less and for more
// than the default.
func TestLimitsHoldAtTheLimitAndNotAbove(t *testing.T) {
	t.Parallel()
	message := func(params string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{` + params + `}}`
	}
	text := func(member string) func(int) string {
		return func(n int) string { return message(`"` + member + `":"` + strings.Repeat("a", n) + `"`) }
	}
	ref := func(member string) func(int) string {
		return func(n int) string { return message(`"ref":{"` + member + `":"` + strings.Repeat("a", n) + `"}`) }
	}
	// The message and its params are two levels.
	arrays := func(n int) string {
		return message(`"arguments":` + strings.Repeat("[", n-2) + strings.Repeat("]", n-2))
	}
	objects := func(n int) string {
		return message(strings.Repeat(`"a":{`, n-2) + strings.Repeat("}", n-2))
	}
	for _, tt := range []struct {
		name string
		of   func(n int) Limits
		body func(n int) string
		rule string
	}{
		{"arrays", func(n int) Limits { return Limits{Depth: n} }, arrays, RuleDepth},
		{"objects", func(n int) Limits { return Limits{Depth: n} }, objects, RuleDepth},
		{"name", func(n int) Limits { return Limits{Name: n} }, text("name"), RuleMemberLength},
		{"name of a ref", func(n int) Limits { return Limits{Name: n} }, ref("name"), RuleMemberLength},
		{"URI", func(n int) Limits { return Limits{URI: n} }, text("uri"), RuleMemberLength},
		{"URI of a ref", func(n int) Limits { return Limits{URI: n} }, ref("uri"), RuleMemberLength},
		{"URI of a subscription", func(n int) Limits { return Limits{URI: n} }, func(n int) string {
			return message(`"notifications":{"resourceSubscriptions":["` + strings.Repeat("a", n) + `"]}`)
		}, RuleMemberLength},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, n := range []int{8, 128, 512, 9000} {
				if tt.rule == RuleDepth && n > 512 {
					continue
				}
				var m Message
				if err := tt.of(n).Read([]byte(tt.body(n)), &m); err != nil {
					t.Errorf("%d at limit %d: %v", n, n, err)
				}
				var e *Error
				if err := tt.of(n).Read([]byte(tt.body(n+1)), &m); !errors.As(err, &e) || e.Rule != tt.rule {
					t.Errorf("%d at limit %d: %v", n+1, n, err)
				}
			}
		})
	}
}

// A scanner that comes from the pool has the limits of its reading alone.
func TestLimitsAreOfOneReading(t *testing.T) {
	t.Parallel()
	body := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"abcdefgh"}}`)
	var m Message
	for range 100 {
		if err := (Limits{Name: 3}).Read(body, &m); err == nil {
			t.Fatal("above its limit and read")
		}
		if err := Read(body, &m); err != nil {
			t.Fatalf("with the default limits: %v", err)
		}
	}
}
