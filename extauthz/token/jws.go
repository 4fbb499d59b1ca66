package token

import (
	"encoding/base64"
	"strings"

	"github.com/mcpgate/mcpgate/extauthz"
)

// Bounds of a token before anything is decoded.
const (
	// MaxBytes is the largest token accepted. Envoy's own limit on all request
	// headers together is 60 KiB.
	MaxBytes = 16 << 10
	// maxSignature is the signature of an RSA key of 8192 bits.
	maxSignature = 1024
	maxKeyID     = 512
)

// jws is a token in the compact serialisation (RFC 7515 section 7.1), decoded
// and not verified.
type jws struct {
	algorithm string
	// keyID is `kid`, empty when the token has none.
	keyID string
	// typ is `typ`; typed is false when there is none.
	typ   string
	typed bool

	claims object
	// iss is the claim, not yet believed.
	iss string

	// signed is the input of the signature: the first two segments.
	signed    []byte
	signature []byte
}

// encoding refuses a last character with stray bits, so that no two texts
// decode to the same bytes. It skips line breaks, which parse has excluded.
var encoding = base64.RawURLEncoding.Strict()

// parse reads a token. Everything it refuses is refused before the content is
// looked at by any library.
func parse(raw string) (*jws, *Error) {
	if len(raw) > MaxBytes {
		return nil, refusef(extauthz.RuleTokenTooLarge, "the token has %d bytes, more than %d", len(raw), MaxBytes)
	}
	first, second, err := segments(raw)
	if err != nil {
		return nil, err
	}
	header, err := decodeSegment("header", raw[:first])
	if err != nil {
		return nil, err
	}
	payload, err := decodeSegment("payload", raw[first+1:second])
	if err != nil {
		return nil, err
	}
	signature, err := decodeSegment("signature", raw[second+1:])
	if err != nil {
		return nil, err
	}
	if len(signature) > maxSignature {
		return nil, refusef(extauthz.RuleTokenMalformed, "the signature has %d bytes, more than %d", len(signature), maxSignature)
	}
	t := &jws{signed: []byte(raw[:second]), signature: signature}
	if err := t.readHeader(header); err != nil {
		return nil, err
	}
	var cause error
	if t.claims, cause = readObject(payload); cause != nil {
		return nil, refusef(extauthz.RuleTokenMalformed, "the claims are not a strict JSON object: %v", cause)
	}
	if t.iss, _ = t.claims["iss"].(string); t.iss == "" {
		return nil, refusef(extauthz.RuleTokenIssuer, "iss is missing, empty or not a string")
	}
	return t, nil
}

// segments finds the two dots of a token made of base64url alone.
func segments(raw string) (first, second int, err *Error) {
	dots := 0
	for i := range len(raw) {
		switch c := raw[i]; {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.':
			switch dots++; dots {
			case 1:
				first = i
			case 2:
				second = i
			}
		default:
			return 0, 0, refusef(extauthz.RuleTokenMalformed, "byte %#02x is not base64url", c)
		}
	}
	switch {
	case dots == 4:
		return 0, 0, refusef(extauthz.RuleTokenMalformed, "five segments: an encrypted token (JWE) is not accepted")
	case dots != 2:
		return 0, 0, refusef(extauthz.RuleTokenMalformed, "%d segments instead of three", dots+1)
	case first == 0 || second == first+1 || second == len(raw)-1:
		return 0, 0, refusef(extauthz.RuleTokenMalformed, "an empty segment")
	}
	return first, second, nil
}

func decodeSegment(name, s string) ([]byte, *Error) {
	b, err := encoding.DecodeString(s)
	if err != nil {
		return nil, refusef(extauthz.RuleTokenMalformed, "the %s is not unpadded base64url: %v", name, err)
	}
	return b, nil
}

// readHeader takes from a JOSE header what is used and refuses what would
// change the meaning of the rest. Other parameters, `jku`, `x5u`, `x5c` and
// `jwk` among them, are ignored.
func (t *jws) readHeader(data []byte) *Error {
	h, cause := readObject(data)
	if cause != nil {
		return refusef(extauthz.RuleTokenMalformed, "the header is not a strict JSON object: %v", cause)
	}
	for _, name := range []string{"crit", "b64", "zip", "enc"} {
		if _, present := h[name]; present {
			return refusef(extauthz.RuleTokenHeader, "the header parameter %q is not accepted", name)
		}
	}
	var err *Error
	if t.algorithm, _, err = headerString(h, "alg"); err != nil {
		return err
	}
	if t.typ, t.typed, err = headerString(h, "typ"); err != nil {
		return err
	}
	var present bool
	switch t.keyID, present, err = headerString(h, "kid"); {
	case err != nil:
		return err
	case present && t.keyID == "":
		return refusef(extauthz.RuleTokenHeader, "the key id (kid) is empty")
	case len(t.keyID) > maxKeyID:
		return refusef(extauthz.RuleTokenHeader, "the key id (kid) has %d bytes, more than %d", len(t.keyID), maxKeyID)
	case hasControl(t.keyID):
		return refusef(extauthz.RuleTokenHeader, "the key id (kid) has a control character")
	}
	cty, _, err := headerString(h, "cty")
	if err != nil {
		return err
	}
	if strings.EqualFold(normalType(cty), "jwt") {
		return refusef(extauthz.RuleTokenHeader, "a token inside a token (cty JWT) is not accepted")
	}
	return nil
}

func headerString(h object, name string) (s string, present bool, err *Error) {
	v, present := h[name]
	if !present {
		return "", false, nil
	}
	s, ok := v.(string)
	if !ok {
		return "", true, refusef(extauthz.RuleTokenHeader, "the header parameter %q is not a string", name)
	}
	return s, true, nil
}

// normalType is the form in which types are compared: lower case, and without
// the "application/" that RFC 7515 section 4.1.9 lets a sender leave out.
func normalType(typ string) string {
	typ = strings.ToLower(typ)
	if rest, ok := strings.CutPrefix(typ, "application/"); ok && !strings.Contains(rest, "/") {
		return rest
	}
	return typ
}
