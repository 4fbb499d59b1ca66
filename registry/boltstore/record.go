package boltstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/mcpgate/mcpgate/registry"
)

// format is the version of what this file describes. Another one is refused:
// a change of the layout gets a new value and a migration.
const format = "mcpgate-registry-1"

func bucketMeta() []byte       { return []byte("meta") }
func bucketResources() []byte  { return []byte("resources") }
func bucketReferences() []byte { return []byte("references") }
func bucketChanges() []byte    { return []byte("changes") }

func keyFormat() []byte   { return []byte("format") }
func keyRevision() []byte { return []byte("revision") }
func keyFloor() []byte    { return []byte("floor") }

const sumBytes = 4

// seal is the stored form of a value under a key.
func seal(key, value []byte) []byte {
	out := make([]byte, sumBytes, sumBytes+len(value))
	binary.BigEndian.PutUint32(out, checksum(key, value))
	return append(out, value...)
}

// unseal returns the value that seal stored. It is a part of stored.
func unseal(key, stored []byte) ([]byte, error) {
	if len(stored) < sumBytes || binary.BigEndian.Uint32(stored) != checksum(key, stored[sumBytes:]) {
		return nil, fmt.Errorf("record %.100q: %w: its checksum does not match", key, registry.ErrCorrupt)
	}
	return stored[sumBytes:], nil
}

func checksum(key, value []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli) // the same table each time
	return crc32.Update(crc32.Checksum(key, table), table, value)
}

// resourceKey sorts as registry.Key does. No kind contains a zero byte.
func resourceKey(k registry.Key) []byte {
	b := make([]byte, 0, len(k.Kind)+1+len(k.Name))
	b = append(b, k.Kind...)
	b = append(b, 0)
	return append(b, k.Name...)
}

func parseResourceKey(b []byte) (registry.Key, error) {
	kind, name, ok := bytes.Cut(b, []byte{0})
	if !ok {
		return registry.Key{}, fmt.Errorf("key %.100q: %w", b, registry.ErrCorrupt)
	}
	return registry.Key{Kind: registry.Kind(kind), Name: string(name)}, nil
}

// referencesPrefix begins the index entries of all referrers of target. The
// length makes it a prefix of nothing else.
func referencesPrefix(target registry.Key) []byte {
	b := make([]byte, 0, 2*(len(target.Kind)+len(target.Name))+8)
	b = append(b, target.Kind...)
	b = append(b, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(target.Name))) // bounded by registry.CheckKey
	return append(b, target.Name...)
}

func referenceKey(target, referrer registry.Key) []byte {
	return append(referencesPrefix(target), resourceKey(referrer)...)
}

func revisionBytes(n int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(n)) // revisions are positive
}

func parseRevision(b []byte) (int64, error) {
	if len(b) != 8 || b[0]&0x80 != 0 {
		return 0, fmt.Errorf("revision %.20q: %w", b, registry.ErrCorrupt)
	}
	return int64(binary.BigEndian.Uint64(b)), nil // the sign bit is clear
}

// decode reads a resource that is stored under key.
func decode(key registry.Key, value []byte) (registry.Resource, error) {
	r, err := registry.Decode(value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", key, registry.ErrCorrupt, err)
	}
	if r.Key() != key {
		return nil, fmt.Errorf("%s: %w: the record is of %s", key, registry.ErrCorrupt, r.Key())
	}
	return r, nil
}

// The record of an Update is one line for each change, in the order of the
// keys: the resource that was put, or "-" and the key of the one deleted. The
// JSON of a resource has no line break.

// appendChange adds a line; value is nil for a deletion.
func appendChange(b []byte, key registry.Key, value []byte) []byte {
	if len(b) > 0 {
		b = append(b, '\n')
	}
	if value != nil {
		return append(b, value...)
	}
	// Names may hold anything, so they are quoted.
	return fmt.Appendf(b, "-%s/%q", key.Kind, key.Name)
}

// parseChanges reads the record of the Update at a revision.
func parseChanges(revision int64, b []byte) (registry.Event, error) {
	e := registry.Event{Revision: revision}
	for line := range bytes.SplitSeq(b, []byte{'\n'}) {
		c, err := parseChange(line)
		if err != nil {
			return e, fmt.Errorf("changes of revision %d: %w: %w", revision, registry.ErrCorrupt, err)
		}
		e.Changes = append(e.Changes, c)
	}
	return e, nil
}

func parseChange(line []byte) (registry.Change, error) {
	if rest, ok := bytes.CutPrefix(line, []byte{'-'}); ok {
		kind, quoted, _ := strings.Cut(string(rest), "/")
		name, err := strconv.Unquote(quoted)
		return registry.Change{Key: registry.Key{Kind: registry.Kind(kind), Name: name}}, err
	}
	r, err := registry.Decode(line)
	if err != nil {
		return registry.Change{}, err
	}
	return registry.Change{Key: r.Key(), Resource: r}, nil
}
