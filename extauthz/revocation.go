package extauthz

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
	"time"

	"github.com/mcpgate/mcpgate/registry"
)

// shape says which fields a Revocation sets, by bits.
type shape uint8

const (
	byIssuer shape = 1 << iota
	bySubject
	byClient
	byTokenID
	bySession
	allShapes
)

// identity is what a Revocation can name of a caller, in the order of the bits
// of shape.
type identity [5]string

func (c *Caller) identity() identity {
	return identity{c.Issuer, c.Subject, c.Client, c.TokenID, c.SessionID}
}

func identityOf(r *registry.Revocation) (id identity, s shape) {
	id = identity{r.Issuer, r.Subject, r.Client, r.TokenID, r.Session}
	for i, v := range id {
		if v != "" {
			s |= 1 << i
		}
	}
	return id, s
}

// appendKey appends the key of the fields that the shape names: each with its
// length before it, so that no two identities share one.
func (s shape) appendKey(b []byte, id *identity) []byte {
	b = append(b, byte(s))
	for i, v := range id {
		if s&(1<<i) != 0 {
			b = binary.AppendUvarint(b, uint64(len(v)))
			b = append(b, v...)
		}
	}
	return b
}

// revocations are all Revocations of one view. A caller is looked up once for
// each shape that is in use, whatever the number of Revocations.
type revocations struct {
	byKey trie[[]*registry.Revocation]
	// shapes has a bit for each shape in use, counts how many use it.
	shapes uint32
	counts [allShapes]int
	// changed is closed when a view with other Revocations takes the place of
	// this one.
	changed chan struct{}
}

func newRevocations() revocations {
	return revocations{byKey: newTrie[[]*registry.Revocation](), changed: make(chan struct{})}
}

// replace takes old out and puts r in; either may be nil.
func (rs *revocations) replace(e *edit, old, r *registry.Revocation) {
	if old != nil {
		id, s := identityOf(old)
		key := string(s.appendKey(nil, &id))
		list, _ := rs.byKey.get(key)
		list = slices.DeleteFunc(slices.Clone(list), func(x *registry.Revocation) bool { return x.Name == old.Name })
		if len(list) == 0 {
			rs.byKey = rs.byKey.unset(e, key)
		} else {
			rs.byKey = rs.byKey.set(e, key, list)
		}
		if rs.counts[s]--; rs.counts[s] == 0 {
			rs.shapes &^= 1 << s
		}
	}
	if r == nil {
		return
	}
	id, s := identityOf(r)
	if s == 0 {
		return // it would revoke everything; the registry refuses it
	}
	key := string(s.appendKey(nil, &id))
	list, _ := rs.byKey.get(key)
	list = append(slices.Clone(list), r)
	slices.SortFunc(list, func(a, b *registry.Revocation) int { return cmp.Compare(a.Name, b.Name) })
	rs.byKey = rs.byKey.set(e, key, list)
	rs.counts[s]++
	rs.shapes |= 1 << s
}

// of is the name of a Revocation that takes the caller's token back at the
// time, or "". A zero time is before the end of each.
func (rs *revocations) of(c *Caller, now time.Time) string {
	if rs.shapes == 0 {
		return ""
	}
	id := c.identity()
	var buf [256]byte
	for left := rs.shapes; left != 0; left &= left - 1 {
		s := shape(bits.TrailingZeros32(left))
		list, ok := rs.byKey.get(string(s.appendKey(buf[:0], &id)))
		if !ok {
			continue
		}
		for _, r := range list {
			if (r.Until.IsZero() || now.Before(r.Until.Time)) &&
				(r.IssuedBefore.IsZero() || c.IssuedAt.IsZero() || c.IssuedAt.Before(r.IssuedBefore.Time)) {
				return r.Name
			}
		}
	}
	return ""
}

// Revoked reports whether a Revocation takes the caller's token back at the
// time, and which. changed is closed when that may be answered anew: a stream
// that was allowed before must then be asked for again. A Revocation never
// begins to hold by the passing of time.
func (p *Policies) Revoked(c *Caller, now time.Time) (name string, changed <-chan struct{}) {
	rs := &p.view.Load().revocations
	return rs.of(c, now), rs.changed
}

// Revoked is the denial of a caller whose token was taken back by a Revocation
// that holds at the time; ok is false when there is none. Decide asks by
// itself; package check asks before it reads the message, since the answer is
// about the token.
func (s *ServerPolicy) Revoked(c *Caller, now time.Time) (d Decision, ok bool) {
	name := s.view.revocations.of(c, now)
	if name == "" {
		return Decision{}, false
	}
	return s.Refuse(RuleTokenRevoked, "revocation "+name), true
}
