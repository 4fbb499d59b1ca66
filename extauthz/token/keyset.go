package token

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/mcpgate/mcpgate/extauthz"
)

// maxKeys bounds a key set; the largest seen have a dozen.
const maxKeys = 100

// errUnknownKey: the set has no key with the token's kid. A newer set may.
var errUnknownKey = errors.New("no key with this kid")

// keySet is the usable keys of an issuer at one time. It is immutable; its
// address stands for its content in the cache.
type keySet struct {
	keys []*key
	// skipped says of each key that was left out why.
	skipped []string
	// content tells sets apart, whatever the order of their keys.
	content string
}

// parseKeySet reads a JWK Set (RFC 7517 section 5) key by key: one that cannot
// be used is left out and does not fail the others. A set without a usable key
// is an error.
func parseKeySet(data []byte) (*keySet, error) {
	var doc struct {
		Keys []jsontext.Value `json:"keys"`
	}
	lenient := json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if err := json.Unmarshal(data, &doc, lenient); err != nil {
		return nil, fmt.Errorf("read key set: %w", err)
	}
	if len(doc.Keys) > maxKeys {
		return nil, fmt.Errorf("read key set: %d keys, more than %d", len(doc.Keys), maxKeys)
	}
	s := &keySet{}
	identities := make([]string, 0, len(doc.Keys))
	for i, raw := range doc.Keys {
		k, err := parseKey(raw)
		if err != nil {
			s.skipped = append(s.skipped, fmt.Sprintf("key %d: %v", i, err))
			continue
		}
		id := strings.Join([]string{k.thumbprint, k.alg, k.id}, "\x00")
		if slices.Contains(identities, id) {
			continue // the same key twice is no ambiguity
		}
		identities = append(identities, id)
		s.keys = append(s.keys, k)
	}
	if len(s.keys) == 0 {
		return nil, fmt.Errorf("read key set: no usable key among %d: %s", len(doc.Keys), strings.Join(s.skipped, "; "))
	}
	slices.Sort(identities)
	s.content = fmt.Sprintf("%q", identities)
	return s, nil
}

// find is the one key for a token: the one with its kid, or, when the token
// has none, the only one that fits the algorithm. It returns errUnknownKey when
// no key has the kid, and a refusal when the choice is not exactly one.
func (s *keySet) find(t *jws) (*key, error) {
	var found *key
	known := false
	for _, k := range s.keys {
		if t.keyID != "" {
			if k.id != t.keyID {
				continue
			}
			known = true
		}
		if !k.fits(t.algorithm) {
			continue
		}
		if found != nil {
			return nil, refusef(extauthz.RuleTokenKey, "more than one key fits kid %s and alg %s", quote(t.keyID), t.algorithm)
		}
		found = k
	}
	switch {
	case found != nil:
		return found, nil
	case known:
		return nil, refusef(extauthz.RuleTokenAlgorithm, "the key with kid %s is not one for alg %s", quote(t.keyID), t.algorithm)
	case t.keyID == "":
		return nil, refusef(extauthz.RuleTokenKey, "no kid, and no key for alg %s", t.algorithm)
	}
	return nil, errUnknownKey
}
