package task

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strconv"

	"github.com/mcpgate/mcpgate/extauthz/session"
)

// digest is a SHA-256. The zero digest stands for nobody.
type digest [sha256.Size]byte

// nameOf is the name of the binding of a task.
func nameOf(server string, generation int64, id string) digest {
	return hash("task", server, strconv.FormatInt(generation, 10), id)
}

// ownerOf is the principal of an owner; its Server does not count.
func ownerOf(o session.Owner) digest {
	return hash("principal", o.Issuer, o.Subject, o.Client)
}

// hash hashes the fields. The length before each makes it impossible to move
// the border between two of them.
func hash(fields ...string) digest {
	var buf [512]byte
	input := buf[:0]
	for _, f := range fields {
		input = binary.BigEndian.AppendUint64(input, uint64(len(f)))
		input = append(input, f...)
	}
	return sha256.Sum256(input)
}

// String is the form of a digest in the registry; empty for nobody.
func (d digest) String() string {
	if d == (digest{}) {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(d[:])
}

// parseDigest reads what String wrote.
func parseDigest(s string) (d digest, ok bool) {
	if s == "" {
		return d, true
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(d) {
		return d, false
	}
	return digest(b), true
}
