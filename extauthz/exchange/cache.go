package exchange

// meanToken is what a token may have on average, in bytes, before fewer than
// the number of entries are kept.
const meanToken = 2 << 10

// cache keeps results in two maps: what is used goes to, or stays in, the
// young one; when that is full it becomes the old one, and what was in the old
// one and not used since is gone. Client.mu guards it.
type cache struct {
	young, old map[key]result
	bytes      int
	// Bounds of one of the two maps.
	maxEntries, maxBytes int
}

func newCache(entries int) cache {
	each := max(entries/2, 1)
	return cache{young: make(map[key]result), maxEntries: each, maxBytes: max(each*meanToken, maxToken)}
}

func (c *cache) get(k key) (result, bool) {
	if r, ok := c.young[k]; ok {
		return r, true
	}
	r, ok := c.old[k]
	if ok {
		delete(c.old, k)
		c.put(k, r)
	}
	return r, ok
}

func (c *cache) put(k key, r result) {
	if last, ok := c.young[k]; ok {
		c.bytes -= len(last.token)
		delete(c.young, k)
	}
	delete(c.old, k)
	if len(c.young) >= c.maxEntries || c.bytes+len(r.token) > c.maxBytes {
		c.old, c.young, c.bytes = c.young, make(map[key]result), 0
	}
	c.young[k] = r
	c.bytes += len(r.token)
}
