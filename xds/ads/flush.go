package ads

import (
	"cmp"
	"math"
	"slices"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// maxInflightScopes bounds the responses of scopes that wait for an
	// answer: what was in them must be known when one is refused. Envoy
	// answers them at once, so the bound is felt only when it is stuck.
	maxInflightScopes = 128
	// maxInflight is the bound for the other types. The oldest is forgotten,
	// since a warming cluster holds back the answers for a long time, and
	// nothing may wait for that.
	maxInflight = 16384
	// maxSingles bounds the responses of one flush.
	maxSingles = 256

	// busyScopes is the number of scopes above which changes of scopes are
	// coalesced, perScope the pause that each of them adds: every response
	// costs Envoy's main thread 0.08µs for each scope that it has.
	busyScopes = 12_000
	perScope   = 200 * time.Nanosecond
)

// scopePause is the shortest time between two responses of scopes.
func scopePause(n int) time.Duration {
	if n <= busyScopes {
		return 0
	}
	return time.Duration(n) * perScope
}

// flushed is what one flush found.
type flushed struct {
	responses []*discoveryv3.DeltaDiscoveryResponse
	// wait, when positive, is when to flush again at the latest.
	wait time.Duration
	// more says that there is more to send now.
	more bool
	// unnamed is that of the stream.
	unnamed bool
}

// flush takes from the logs what the Envoy lacks, in the order in which it
// must be sent.
func (st *stream) flush(now time.Time) (flushed, error) {
	s := st.server
	s.mu.RLock()
	defer s.mu.RUnlock()
	st.mu.Lock()
	defer st.mu.Unlock()

	if st.tooFarBehind() {
		return flushed{}, status.Error(codes.Unavailable, "too far behind, reconnect")
	}
	var f flushed
	head := mark{s.catalog.seq, s.revision}
	st.stalled = false
	for k := range scopes {
		st.flushKind(&f, k, head)
	}
	st.flushScopes(&f, head, now)
	st.flushLate(&f)
	st.flushRemovedClusters(&f)
	f.unnamed = st.unnamed
	return f, nil
}

// flushKind sends what is new of any type but scopes.
func (st *stream) flushKind(f *flushed, k kind, head mark) {
	sub, l := &st.subs[k], st.server.catalog.logs[k]
	if !sub.started {
		return
	}
	if sub.waits(l) {
		base := sub.mark()
		d := sub.collect(l, head)
		if k == clusters {
			st.inherited = max(st.inherited, len(d.gone))
			d = st.holdRemovals(d)
		}
		if len(d.add) > 0 || len(d.gone) > 0 || d.answer {
			st.respond(f, k, base, d.add, d.gone)
		}
	} else {
		sub.moveTo(head)
	}
	st.flushSingles(f, k, maxSingles)
	if n := len(sub.inflight) - maxInflight; n > 0 {
		sub.inflight = slices.Delete(sub.inflight, 0, n)
	}
}

// flushScopes sends changes of scopes: removals in a response of their own, so
// that no refusal can touch them, then the changed ones together, then those
// that must be alone.
func (st *stream) flushScopes(f *flushed, head mark, now time.Time) {
	sub, l := &st.subs[scopes], st.server.catalog.logs[scopes]
	if !sub.started {
		return
	}
	switch {
	case len(sub.inflight) >= maxInflightScopes:
		st.stalled = true
		return
	case !sub.waits(l):
		sub.moveTo(head)
	case now.Before(st.nextScopes):
		f.wait = st.nextScopes.Sub(now)
	default:
		st.changedScopes(f, head)
		if pause := st.server.pause(l.live.len); pause > 0 {
			st.nextScopes = now.Add(pause)
		}
	}
	st.flushSingles(f, scopes, maxInflightScopes-len(sub.inflight))
}

func (st *stream) changedScopes(f *flushed, head mark) {
	sub, c := &st.subs[scopes], st.server.catalog
	base, first := sub.mark(), sub.fresh && sub.all
	d := sub.collect(c.logs[scopes], head)
	if len(d.gone) > 0 {
		st.respond(f, scopes, base, nil, d.gone)
	}
	together := d.add[:0]
	for _, r := range d.add {
		switch {
		case first && r.name == c.last():
			st.late, st.lateAfter = r, head.seq
		case r == st.late:
			// Its time comes.
		case r.suspect:
			sub.alone = append(sub.alone, single{r, r.seq, base})
		default:
			together = append(together, r)
		}
	}
	if len(together) > 0 || d.answer {
		st.respond(f, scopes, base, together, nil)
	}
}

// flushSingles sends at most limit of the resources that must be alone. One
// that has changed since it was queued was, or will be, found in the log.
func (st *stream) flushSingles(f *flushed, k kind, limit int) {
	sub := &st.subs[k]
	n := 0
	for len(sub.alone) > 0 && n < limit {
		one := sub.alone[0]
		sub.alone = sub.alone[1:]
		if r := one.rec; r.seq == one.seq && r.res != nil && !r.quarantined && sub.wants(r.name) {
			st.respond(f, k, one.base, []*record{r}, nil).trial = true
			n++
		}
	}
	switch {
	case len(sub.alone) == 0:
		sub.alone = nil
	case k == scopes:
		st.stalled = true
	default:
		f.more = true
	}
}

// flushLate sends the scope kept back, once everything else is acknowledged.
func (st *stream) flushLate(f *flushed) {
	if st.late == nil {
		return
	}
	if at, ok := st.settled(); !ok || at.seq < st.lateAfter {
		st.stalled = true
		return
	}
	r := st.late
	st.late = nil
	if r.res != nil && !r.quarantined {
		// Without it the Envoy has acknowledged nothing.
		st.respond(f, scopes, mark{}, []*record{r}, nil)
	}
}

// holdRemovals keeps removals of clusters until no scope can use them, and
// forgets those that have been taken back: what the Envoy then has of them may
// be what it is to have.
func (st *stream) holdRemovals(d delta) delta {
	add := d.add[:0]
	for _, r := range d.add {
		if o, ok := st.obsolete[r.name]; ok {
			delete(st.obsolete, r.name)
			if o.version == r.version() && !r.doubtful {
				continue
			}
		}
		add = append(add, r)
	}
	for _, o := range d.gone {
		if st.obsolete == nil {
			st.obsolete = make(map[string]removal)
		}
		st.obsolete[o.name] = o
		st.oldestObsolete = min(st.oldestObsolete, o.seq)
	}
	d.add, d.gone = add, nil
	return d
}

// flushRemovedClusters sends removals of clusters that no scope can use any
// more: those before everything that the Envoy has acknowledged of the scopes.
func (st *stream) flushRemovedClusters(f *flushed) {
	if len(st.obsolete) == 0 {
		st.oldestObsolete = math.MaxUint64
		return
	}
	st.stalled = true
	at, ok := st.settled()
	if !ok || at.seq < st.oldestObsolete {
		return
	}
	var gone []removal
	st.oldestObsolete = math.MaxUint64
	for name, o := range st.obsolete {
		if o.seq > at.seq {
			st.oldestObsolete = min(st.oldestObsolete, o.seq)
			continue
		}
		gone = append(gone, o)
		delete(st.obsolete, name)
	}
	slices.SortFunc(gone, func(a, b removal) int { return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.name, b.name)) })
	st.respond(f, clusters, st.subs[clusters].mark(), nil, gone)
}

// tooFarBehind reports whether the log has forgotten what the stream needs, or
// the stream holds back too much. When the Envoy reconnects it gets the
// difference.
func (st *stream) tooFarBehind() bool {
	for k := range st.subs {
		sub := &st.subs[k]
		if sub.begun && !sub.fresh && sub.position < st.server.catalog.logs[k].compacted {
			return true
		}
	}
	return len(st.obsolete) > maxGone+st.inherited
}

// settled is the place up to which the Envoy has answered all responses of
// scopes. ok is false while it has none, or while those of a refused response
// are not there again.
func (st *stream) settled() (at mark, ok bool) {
	sub := &st.subs[scopes]
	if !sub.begun || sub.fresh {
		return mark{}, false
	}
	at = sub.mark()
	for _, e := range sub.inflight {
		if e.base.before(at) {
			at = e.base
		}
	}
	// The queue is in the order in which it grew.
	if len(sub.alone) > 0 && sub.alone[0].base.before(at) {
		at = sub.alone[0].base
	}
	return at, at.seq >= st.gate
}

// accepted is what the Envoy has acknowledged, as far as others may rely on
// it: nothing before its first sync is complete.
func (st *stream) accepted() (at mark, ok bool) {
	at, ok = st.settled()
	return at, ok && st.late == nil
}

// respond adds a response and remembers what is in it.
func (st *stream) respond(f *flushed, k kind, base mark, add []*record, gone []removal) *sent {
	sub := &st.subs[k]
	r := &discoveryv3.DeltaDiscoveryResponse{
		TypeUrl:   k.typeURL(),
		Nonce:     st.nonce(),
		Resources: make([]*discoveryv3.Resource, len(add)),
	}
	for _, o := range gone {
		r.RemovedResources = append(r.RemovedResources, o.name)
	}
	e := &sent{nonce: r.Nonce, base: base, items: make([]item, len(add))}
	for i, rec := range add {
		r.Resources[i] = rec.res
		e.items[i] = item{rec, rec.res, rec.rev}
	}
	sub.inflight = append(sub.inflight, e)
	f.responses = append(f.responses, r)
	return e
}
