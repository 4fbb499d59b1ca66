package token

import (
	"cmp"
	"slices"
	"time"
)

// IssuerStatus is the state of one issuer's keys, for the operator.
type IssuerStatus struct {
	Name string
	// URL is the issuer, JWKSURI its configured key set, empty when it is
	// discovered.
	URL, JWKSURI string
	// Introspection is where tokens are asked for, empty when they are verified
	// by their signatures; there are no keys then, and Usable says that the last
	// question had an answer.
	Introspection string
	// Usable: tokens can be verified now.
	Usable bool
	// Keys is the number of usable keys, Skipped why others are not.
	Keys    int
	Skipped []string
	// KeyAge is the time since the issuer last confirmed the keys; zero when
	// there are none.
	KeyAge time.Duration
	// LastError is why the last fetch failed, empty when it did not.
	LastError string
}

// Status is the state of every issuer, in the order of their names.
func (v *Verifier) Status() []IssuerStatus {
	v.mu.RLock()
	defer v.mu.RUnlock()
	list := make([]IssuerStatus, 0, len(v.byName))
	for _, i := range v.byName {
		list = append(list, i.status(v.now()))
	}
	slices.SortFunc(list, func(a, b IssuerStatus) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func (i *issuer) status(now time.Time) IssuerStatus {
	s := IssuerStatus{Name: i.name, URL: i.url}
	if n := i.introspector; n != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		s.Introspection, s.Usable = n.settings.URL, n.lastErr == nil
		if n.lastErr != nil {
			s.LastError = n.lastErr.Error()
		}
		return s
	}
	s.JWKSURI = i.source.jwksURI
	if p := i.source.published.Load(); p != nil {
		s.Usable = i.source.fresh(p, now)
		s.Keys = len(p.keys.keys)
		s.Skipped = slices.Clone(p.keys.skipped)
		s.KeyAge = now.Sub(p.at)
	}
	i.source.mu.Lock()
	defer i.source.mu.Unlock()
	if i.source.lastErr != nil {
		s.LastError = i.source.lastErr.Error()
	}
	return s
}

// CacheStatus is the state of the cache of verified tokens.
type CacheStatus struct {
	// Entries are verified tokens.
	Entries int
	// Hits are tokens that were known, Misses those that had to be verified,
	// since the Verifier was made.
	Hits, Misses uint64
}

// CacheStatus returns the state of the cache.
func (v *Verifier) CacheStatus() CacheStatus {
	return CacheStatus{Entries: v.cache.size(), Hits: v.hits.Load(), Misses: v.misses.Load()}
}
