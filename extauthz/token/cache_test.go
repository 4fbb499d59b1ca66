package token

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// digestOf is a digest of the shard that n falls into.
func digestOf(n int) (d digest) {
	binary.BigEndian.PutUint64(d[8:], uint64(n))
	d[0] = byte(n)
	return d
}

func (c *cache) len() int {
	n := 0
	for i := range c.shards {
		n += len(c.shards[i].young) + len(c.shards[i].old)
	}
	return n
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	const entries = 320
	c := newCache(entries)
	for i := range 10 * entries {
		c.put(digestOf(i), &verified{}, 700)
		if n := c.len(); n > entries {
			t.Fatalf("%d entries after %d, more than %d", n, i, entries)
		}
	}
	large := newCache(3200)
	for i := range 3200 {
		large.put(digestOf(i), &verified{}, MaxBytes)
	}
	if n := large.len() * MaxBytes; n > 3200<<10 {
		t.Errorf("%d bytes of tokens stand in the cache", n)
	}
}

func TestCacheKeepsWhatIsUsed(t *testing.T) {
	t.Parallel()
	c := newCache(320)
	used := &verified{}
	c.put(digestOf(0), used, 700)
	for i := 1; i < 5000; i++ {
		c.put(digestOf(i*shards), &verified{}, 700) // all in the same shard
		if c.get(digestOf(0)) != used {
			t.Fatalf("gone after %d others", i)
		}
	}
}

// TestCacheModel: whatever the cache answers is what was put last.
func TestCacheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := newCache(rapid.IntRange(1, 200).Draw(t, "entries"))
		model := make(map[int]*verified)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				n := rapid.IntRange(0, 300).Draw(t, "n")
				model[n] = &verified{}
				c.put(digestOf(n), model[n], rapid.IntRange(1, MaxBytes).Draw(t, "size"))
			},
			"get": func(t *rapid.T) {
				n := rapid.IntRange(0, 300).Draw(t, "n")
				if v := c.get(digestOf(n)); v != nil && v != model[n] {
					t.Fatalf("another entry for %d", n)
				}
			},
			"drop": func(t *rapid.T) {
				n := rapid.IntRange(0, 300).Draw(t, "n")
				if v := c.get(digestOf(n)); v != nil {
					c.drop(digestOf(n), v)
					if c.get(digestOf(n)) != nil {
						t.Fatalf("%d is still there", n)
					}
				}
			},
			"": func(t *rapid.T) {
				for i := range c.shards {
					s := &c.shards[i]
					sum := 0
					for _, e := range s.young {
						sum += e.size
					}
					if sum != s.bytes || len(s.young) > s.maxEntries || sum > s.maxBytes {
						t.Fatalf("shard %d: %d bytes counted as %d, %d entries", i, sum, s.bytes, len(s.young))
					}
				}
			},
		})
	})
}
