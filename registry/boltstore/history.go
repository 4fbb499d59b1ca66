package boltstore

import (
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/mcpgate/mcpgate/registry"
)

const (
	// maxHistoryBytes bounds the changes kept, whatever their number.
	maxHistoryBytes = 64 << 20
	// maxRecordBytes is the largest Update that is kept in the history. A
	// larger one ends the history: whoever was behind takes a Snapshot, which
	// is no dearer than reading it.
	maxRecordBytes = 4 << 20
	// trimSlack is how many records pile up before old ones are removed.
	trimSlack = 64
)

// history is where the store stands: its revision, and the Updates that it
// still knows. The records of revisions floor+1 to revision are in the file.
type history struct {
	revision, floor int64
	bytes           int64
	// dropped is set when records below floor are still to be removed.
	dropped bool
}

// loadHistory reads the history of a file.
func loadHistory(tx *bbolt.Tx) (h history, err error) {
	if h.revision, err = readMeta(tx, keyRevision()); err != nil {
		return h, err
	}
	if h.floor, err = readMeta(tx, keyFloor()); err != nil {
		return h, err
	}
	expected := h.floor
	err = tx.Bucket(bucketChanges()).ForEach(func(k, v []byte) error {
		expected++
		if revision, err := parseRevision(k); err != nil || revision != expected {
			return fmt.Errorf("history: %w: record %d is not where it belongs", registry.ErrCorrupt, expected)
		}
		h.bytes += int64(len(v))
		return nil
	})
	if err == nil && expected != h.revision {
		err = fmt.Errorf("history: %w: it ends at revision %d instead of %d", registry.ErrCorrupt, expected, h.revision)
	}
	return h, err
}

// add records an Update.
func (h *history) add(tx *bbolt.Tx, revision int64, record []byte) error {
	h.revision = revision
	if len(record) > maxRecordBytes {
		h.floor, h.bytes, h.dropped = revision, 0, true
		return nil
	}
	b := tx.Bucket(bucketChanges())
	b.FillPercent = 1 // the keys only grow
	k := revisionBytes(revision)
	v := seal(k, record)
	h.bytes += int64(len(v))
	if err := b.Put(k, v); err != nil {
		return fmt.Errorf("record changes: %w", err)
	}
	return nil
}

// save writes where the store stands, and removes records that are too many.
func (h *history) save(tx *bbolt.Tx, keep int) error {
	if h.dropped || h.revision-h.floor > int64(keep)+trimSlack || h.bytes > maxHistoryBytes {
		if err := h.trim(tx, int64(keep)); err != nil {
			return fmt.Errorf("trim history: %w", err)
		}
	}
	for _, m := range []struct {
		key   []byte
		value int64
	}{{keyRevision(), h.revision}, {keyFloor(), h.floor}} {
		if err := tx.Bucket(bucketMeta()).Put(m.key, seal(m.key, revisionBytes(m.value))); err != nil {
			return fmt.Errorf("write revision: %w", err)
		}
	}
	return nil
}

func (h *history) trim(tx *bbolt.Tx, keep int64) error {
	h.dropped = false
	c := tx.Bucket(bucketChanges()).Cursor()
	for k, v := c.First(); k != nil; k, v = c.First() {
		revision, err := parseRevision(k)
		if err != nil {
			return err
		}
		if revision > h.floor && h.revision-revision < keep && h.bytes <= maxHistoryBytes {
			return nil
		}
		if revision > h.floor {
			h.floor = revision
			h.bytes -= int64(len(v))
		}
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return nil
}

// readHistory returns up to limit Updates after a revision, in order, from a
// read transaction; ErrCompacted when they are no longer kept.
func readHistory(tx *bbolt.Tx, after int64, limit int) ([]registry.Event, error) {
	floor, err := readMeta(tx, keyFloor())
	if err != nil {
		return nil, err
	}
	if after < floor {
		return nil, compacted(after)
	}
	var events []registry.Event
	c := tx.Bucket(bucketChanges()).Cursor()
	for k, v := c.Seek(revisionBytes(after + 1)); k != nil && len(events) < limit; k, v = c.Next() {
		revision, err := parseRevision(k)
		if err != nil {
			return nil, err
		}
		if revision != after+1 {
			return nil, fmt.Errorf("history: %w: revision %d is missing", registry.ErrCorrupt, after+1)
		}
		record, err := unseal(k, v)
		if err != nil {
			return nil, err
		}
		e, err := parseChanges(revision, record)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
		after = revision
	}
	return events, nil
}

func compacted(after int64) error {
	return fmt.Errorf("watch from revision %d: %w", after, registry.ErrCompacted)
}
