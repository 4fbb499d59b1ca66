package session

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"sync/atomic"

	"github.com/mcpgate/mcpgate/registry"
)

// MaxID is the length in bytes of the longest upstream id that can be bound.
const MaxID = 1024

const (
	version = "v1"
	macSize = 16
	// minSecret is the shortest secret of a key that is used.
	minSecret = 16
	maxKeyID  = 64
	// maxBound is the length of the longest id that Wrap returns.
	maxBound = len(version) + maxKeyID + (MaxID+2)/3*4 + (macSize+2)/3*4 + 3
)

// Errors of Wrap and Unwrap.
var (
	// ErrNoKey: there is no key to bind with.
	ErrNoKey = errors.New("no session key")
	// ErrID: the upstream's id is not one that MCP allows (visible ASCII), or
	// is longer than MaxID.
	ErrID = errors.New("session id not usable")
	// ErrUnknown: the id was not given to this owner, or no longer holds. It
	// does not say why, so that nobody can learn about the ids of others.
	ErrUnknown = errors.New("session unknown")
)

// Owner is whom a session belongs to: a principal, and the server that gave
// the session.
type Owner struct {
	// Issuer, Subject and Client are those of the caller; Client can be empty.
	Issuer, Subject, Client string
	// Server is the server's name.
	Server string
}

// Keyring holds the keys. It is safe for concurrent use.
type Keyring struct {
	keys atomic.Pointer[keys]
}

type keys struct {
	byID map[string][]byte
	// newest is the id of the key that binds; empty when there is none.
	newest string
}

// NewKeyring returns a keyring without keys: it binds nothing and knows no id.
func NewKeyring() *Keyring {
	k := &Keyring{}
	k.Set(nil)
	return k
}

// Set replaces all keys. The one with the highest revision binds from now on;
// the ids that any of them has bound stay valid. Keys with an unusable name or
// a short secret are left out.
func (k *Keyring) Set(list []*registry.SessionKey) {
	next := &keys{byID: make(map[string][]byte, len(list))}
	revision := int64(-1)
	for _, key := range list {
		if key == nil || !validKeyID(key.Name) || len(key.Secret) < minSecret {
			continue
		}
		next.byID[key.Name] = append([]byte(nil), key.Secret...)
		r := key.Metadata.Revision
		if r > revision || r == revision && key.Name > next.newest {
			next.newest, revision = key.Name, r
		}
	}
	k.keys.Store(next)
}

// Wrap binds an upstream's session id to its owner. The same id, owner and key
// always give the same result. It returns ErrNoKey or ErrID.
func (k *Keyring) Wrap(o Owner, id string) (string, error) {
	ks := k.keys.Load()
	if ks.newest == "" {
		return "", ErrNoKey
	}
	if !validID(id) {
		return "", ErrID
	}
	mac := sum(ks.byID[ks.newest], o, id)
	enc := base64.RawURLEncoding
	return strings.Join([]string{version, ks.newest, enc.EncodeToString([]byte(id)), enc.EncodeToString(mac)}, "."), nil
}

// Unwrap returns the upstream's id of a bound one, when it was bound for this
// owner by a key that the keyring still has. Otherwise it returns ErrUnknown.
func (k *Keyring) Unwrap(o Owner, bound string) (id string, err error) {
	if len(bound) > maxBound {
		return "", ErrUnknown
	}
	ver, rest, _ := strings.Cut(bound, ".")
	keyID, rest, _ := strings.Cut(rest, ".")
	// A fourth point would be in the MAC, where it does not decode.
	encodedID, encodedMAC, _ := strings.Cut(rest, ".")
	secret, ok := k.keys.Load().byID[keyID]
	if ver != version || !ok {
		return "", ErrUnknown
	}
	raw, ok := decode(encodedID)
	if !ok || !validID(raw) {
		return "", ErrUnknown
	}
	mac, ok := decode(encodedMAC)
	if !ok || !hmac.Equal([]byte(mac), sum(secret, o, raw)) {
		return "", ErrUnknown
	}
	return raw, nil
}

// decode reads base64url without padding, in its one canonical form: otherwise
// several texts would stand for the same id.
func decode(s string) (string, bool) {
	// The decoder skips line breaks.
	if strings.ContainsAny(s, "\r\n") {
		return "", false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return string(b), err == nil
}

// sum is the MAC. The length before each field makes it impossible to move the
// border between two of them.
func sum(secret []byte, o Owner, id string) []byte {
	var buf [512]byte
	input := buf[:0]
	for _, f := range [...]string{version, o.Issuer, o.Subject, o.Client, o.Server, id} {
		input = binary.BigEndian.AppendUint64(input, uint64(len(f)))
		input = append(input, f...)
	}
	h := hmac.New(sha256.New, secret)
	h.Write(input)
	return h.Sum(nil)[:macSize]
}

// validID reports whether id is what MCP allows: 0x21 to 0x7E.
func validID(id string) bool {
	if id == "" || len(id) > MaxID {
		return false
	}
	for i := range len(id) {
		if id[i] < 0x21 || id[i] > 0x7e {
			return false
		}
	}
	return true
}

// validKeyID reports whether a key's name can stand in a bound id.
func validKeyID(id string) bool {
	if id == "" || len(id) > maxKeyID {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
