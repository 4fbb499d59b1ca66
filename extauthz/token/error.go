package token

import (
	"fmt"
	"strconv"

	"github.com/mcpgate/mcpgate/extauthz"
)

// Error is a refusal of a token. Every error of Verify is one.
type Error struct {
	// Rule is the id of the rule that refused.
	Rule extauthz.Rule
	// Reason is for the operator only. It may quote single values of the token,
	// shortened, but never the token.
	Reason string
	// Unavailable is true when the token could not be judged at all: the answer
	// is then a 503 and not a 401.
	Unavailable bool
}

// Error implements error.
func (e *Error) Error() string { return string(e.Rule) + ": " + e.Reason }

func refusef(rule extauthz.Rule, format string, args ...any) *Error {
	return &Error{Rule: rule, Reason: fmt.Sprintf(format, args...)}
}

func unavailablef(rule extauthz.Rule, format string, args ...any) *Error {
	return &Error{Rule: rule, Reason: fmt.Sprintf(format, args...), Unavailable: true}
}

// quote shows a value from a token in a Reason: escaped and short.
func quote(s string) string {
	const limit = 80
	if len(s) > limit {
		return strconv.QuoteToASCII(s[:limit]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
