package token

import (
	"crypto/sha256"
	"sync"
)

// digest stands for a whole token. The token itself is never kept.
type digest [sha256.Size]byte

const shards = 16

// cache keeps verified tokens. Each shard has two maps: what is used goes to,
// or stays in, the young one; when that is full it becomes the old one, and
// what was in the old one and not used since is gone. So memory is bounded,
// every operation is one map access, and what is used often stays.
type cache struct {
	shards [shards]shard
}

type shard struct {
	mu         sync.Mutex
	young, old map[digest]*cached
	bytes      int
	// Bounds of one of the two maps.
	maxEntries, maxBytes int
}

type cached struct {
	*verified
	// size is the length of the token, which bounds that of the entry.
	size int
}

// newCache holds at most about entries tokens of 1 KiB, or as many larger ones
// as amount to the same.
func newCache(entries int) *cache {
	c := &cache{}
	each := max(entries/(2*shards), 1)
	for i := range c.shards {
		c.shards[i] = shard{
			young:      make(map[digest]*cached),
			maxEntries: each,
			maxBytes:   max(each<<10, MaxBytes),
		}
	}
	return c
}

func (c *cache) shard(d digest) *shard { return &c.shards[d[0]%shards] }

func (c *cache) get(d digest) *verified {
	s := c.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.young[d]; ok {
		return e.verified
	}
	e, ok := s.old[d]
	if !ok {
		return nil
	}
	delete(s.old, d)
	s.add(d, e)
	return e.verified
}

func (c *cache) put(d digest, v *verified, size int) {
	s := c.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.old, d)
	s.add(d, &cached{verified: v, size: size})
}

// drop forgets v, if it is still what d stands for.
func (c *cache) drop(d digest, v *verified) {
	s := c.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.young[d]; ok && e.verified == v {
		s.bytes -= e.size
		delete(s.young, d)
	}
}

func (s *shard) add(d digest, e *cached) {
	if last, ok := s.young[d]; ok {
		s.bytes -= last.size
		delete(s.young, d)
	}
	if len(s.young) >= s.maxEntries || s.bytes+e.size > s.maxBytes {
		s.old, s.young, s.bytes = s.young, make(map[digest]*cached), 0
	}
	s.young[d] = e
	s.bytes += e.size
}

// size is the number of entries.
func (c *cache) size() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.young) + len(s.old)
		s.mu.Unlock()
	}
	return n
}
