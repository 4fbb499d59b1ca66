package token

import (
	"encoding/base64"
	"io"
	"strings"

	"github.com/mcpgate/mcpgate/extauthz"
)

// looksSigned reports whether a token is, or tries to be, a JOSE token: what
// stands before its first dot decodes to the begin of a JSON object. It is
// more generous than parse: whatever it takes for a JWT is read as one or
// refused, and no variant of it becomes an opaque token.
func looksSigned(raw string) bool {
	head, _, found := strings.Cut(raw, ".")
	if !found {
		return false
	}
	head = strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(head)
	r := base64.NewDecoder(base64.RawURLEncoding, strings.NewReader(head))
	var begin []byte
	var b [1]byte
	for len(begin) < 2 {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			break
		}
		if c := b[0]; c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			begin = append(begin, c)
		}
	}
	return string(begin) == `{"` || string(begin) == "{}"
}

// checkOpaque refuses what is not a b64token (RFC 6750 section 2.1).
func checkOpaque(raw string) *Error {
	body := strings.TrimRight(raw, "=")
	if body == "" {
		return refusef(extauthz.RuleTokenMalformed, "the token is empty")
	}
	for i := range len(body) {
		switch c := body[i]; {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', strings.IndexByte("-._~+/", c) >= 0:
		default:
			return refusef(extauthz.RuleTokenMalformed, "byte %#02x cannot be in a bearer token", c)
		}
	}
	return nil
}

// introspecting is the Issuer that is asked about a token, or nil when none
// is: iss is that of a token which looks like a JWT, empty of an opaque one.
// v.mu is held.
//
// A JWT is introspected only at the issuer that it names, and never when that
// is an Issuer whose tokens are verified by their signatures, whether the
// server accepts that one or not. An opaque token says nothing of itself: it
// is asked for where the server accepts exactly one Issuer with introspection.
func (v *Verifier) introspecting(iss string, want Want) (*issuer, *Error) {
	if iss != "" && len(v.byURL[iss]) > 0 {
		return nil, nil //nolint:nilnil // nobody is an answer
	}
	var found *issuer
	for _, i := range v.opaque {
		if !want.accepts(i) || iss != "" && iss != i.url {
			continue
		}
		if found != nil {
			return nil, refusef(extauthz.RuleTokenIssuer,
				"issuers %s and %s both have introspection: access.issuers of the server must name one of them", found.name, i.name)
		}
		found = i
	}
	return found, nil
}
