package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"go.etcd.io/bbolt"

	"github.com/mcpgate/mcpgate/registry"
)

// checkRecord is what Open checks of every record: that its bytes are those
// that were written.
func checkRecord(_, key, value []byte) error {
	_, err := unseal(key, value)
	return err
}

// Check examines the registry file at path, which no process may have open: the
// pages as Open does and as bbolt does, every resource and every change, and
// whether the index and the history agree with the resources. It changes
// nothing. The errors are those of Open; all problems found are joined.
func Check(path string) error {
	err := check(path)
	if err != nil {
		return fmt.Errorf("check registry %s: %w", path, err)
	}
	return nil
}

func check(path string) error {
	if _, err := os.Stat(path); err != nil {
		return err
	}
	db, _, err := openBolt(path, Options{}.withDefaults(), true)
	if err != nil {
		return err
	}
	err = guard(func() error {
		return db.View(func(tx *bbolt.Tx) error {
			if err := checkFormat(tx); err != nil {
				return err
			}
			var p checker
			for err := range tx.Check() {
				p.add(corruptf("%v", err))
			}
			p.resources(tx)
			p.history(tx)
			return errors.Join(p.list...)
		})
	})
	return errors.Join(err, db.Close())
}

// maxCheckErrors bounds what Check reports.
const maxCheckErrors = 100

type checker struct {
	list []error
	// latest has the key of every resource and its revision.
	latest map[registry.Key]int64
}

func (p *checker) add(err error) {
	if err != nil && len(p.list) < maxCheckErrors {
		p.list = append(p.list, err)
	}
}

// resources decodes them, and compares the index with what they refer to.
func (p *checker) resources(tx *bbolt.Tx) {
	p.latest = make(map[registry.Key]int64)
	index := tx.Bucket(bucketReferences())
	references := 0
	p.add(tx.Bucket(bucketResources()).ForEach(func(k, _ []byte) error {
		key, err := parseResourceKey(k)
		if err != nil {
			p.add(err)
			return nil
		}
		r, err := get(tx, key)
		if err != nil {
			p.add(err)
			return nil
		}
		if !bytes.Equal(k, resourceKey(key)) {
			p.add(corruptf("%s: stored under another key", key))
		}
		p.latest[key] = r.Meta().Revision
		for _, target := range r.References() {
			references++
			if index.Get(referenceKey(target, key)) == nil {
				p.add(corruptf("index: %s refers to %s, which is not listed", key, target))
			}
		}
		return nil
	}))
	p.add(index.ForEach(func(_, _ []byte) error {
		references--
		return nil
	}))
	if references < 0 {
		p.add(corruptf("index: %d references are listed that no resource has", -references))
	}
}

// history decodes the changes, and compares the last of each resource with the
// resource.
func (p *checker) history(tx *bbolt.Tx) {
	h, err := loadHistory(tx)
	if err != nil {
		p.add(err)
		return
	}
	for key, revision := range p.latest {
		if revision < 1 || revision > h.revision {
			p.add(corruptf("%s: its revision %d is not of this registry, which is at %d", key, revision, h.revision))
		}
	}
	last := make(map[registry.Key]int64)
	p.add(tx.Bucket(bucketChanges()).ForEach(func(k, v []byte) error {
		revision, err := parseRevision(k)
		if err != nil {
			return err
		}
		record, err := unseal(k, v)
		if err != nil {
			return err
		}
		e, err := parseChanges(revision, record)
		if err != nil {
			return err
		}
		for _, c := range e.Changes {
			last[c.Key] = revision
			if c.Resource == nil {
				last[c.Key] = 0
			}
		}
		return nil
	}))
	for key, revision := range last {
		if p.latest[key] != revision {
			p.add(corruptf("%s: the history leaves it at revision %d, and it is at %d", key, revision, p.latest[key]))
		}
	}
}
