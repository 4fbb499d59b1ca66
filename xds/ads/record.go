package ads

import (
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// maxPast is how many earlier states of a resource are remembered. A stream
// that lags by more sends a resource once too often, nothing worse.
const maxPast = 4

// record is the place of one name in a log: its current state, and enough of
// the past to know what a stream at an older position holds.
type record struct {
	name string
	// seq is the number of the last change.
	seq uint64
	// res is nil when the resource has been removed. It is shared by responses
	// that are being sent, so it is replaced, never changed.
	res *discoveryv3.Resource
	// revision of the registry that the content came from; 0 when none did.
	revision int64
	// rev of a scope, counts the times that its content was made to differ.
	rev uint64
	// past are earlier states, newest first.
	past []state
	// whole says that past reaches back to where the name did not exist.
	whole bool
	// doubtful says that a stream to which the current state was sent may not
	// hold it, because an Envoy refused the response it was in.
	doubtful bool
	// suspect is sent alone, until an Envoy has accepted it so.
	suspect bool
	// quarantined was refused alone: it is not sent until its content changes.
	quarantined bool

	list       *list
	prev, next *record
}

// state is what a name was from seq on; the version of an absence is empty.
type state struct {
	seq     uint64
	version string
}

// version of the current content, empty when the resource has been removed.
func (r *record) version() string { return r.res.GetVersion() }

// held is the version that a stream holds which has sent everything up to the
// position. ok is false when that is not known.
func (r *record) held(position uint64) (version string, ok bool) {
	if r.seq <= position {
		return r.version(), !r.doubtful
	}
	for _, s := range r.past {
		if s.seq <= position {
			return s.version, true
		}
	}
	return "", r.whole
}

// change sets the next state.
func (r *record) change(seq uint64, res *discoveryv3.Resource, revision int64) {
	switch {
	case r.seq == 0:
		r.whole = true
	case r.doubtful:
		r.past, r.whole = nil, false
	default:
		if len(r.past) >= maxPast {
			r.past, r.whole = r.past[:maxPast-1], false
		}
		r.past = append([]state{{r.seq, r.version()}}, r.past...)
	}
	r.seq, r.res, r.revision = seq, res, revision
	r.doubtful, r.suspect, r.quarantined = false, false, false
}

// doubt forgets what streams may hold, because an Envoy has refused it.
func (r *record) doubt() { r.past, r.whole, r.doubtful = nil, false, true }

// list is a doubly linked list of records, ordered by seq.
type list struct {
	first, last *record
	len         int
}

// push appends r, taking it out of the list that it is in.
func (l *list) push(r *record) {
	r.unlink()
	r.list, r.prev = l, l.last
	if l.last != nil {
		l.last.next = r
	} else {
		l.first = r
	}
	l.last = r
	l.len++
}

func (r *record) unlink() {
	l := r.list
	if l == nil {
		return
	}
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		l.first = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	} else {
		l.last = r.prev
	}
	r.list, r.prev, r.next = nil, nil, nil
	l.len--
}

// since returns the records after the position, oldest first. Its cost grows
// with their number only.
func (l *list) since(position uint64) []*record {
	from, n := (*record)(nil), 0
	for r := l.last; r != nil && r.seq > position; r = r.prev {
		from = r
		n++
	}
	if n == 0 {
		return nil
	}
	out := make([]*record, 0, n)
	for r := from; r != nil; r = r.next {
		out = append(out, r)
	}
	return out
}

// newer reports whether anything is after the position.
func (l *list) newer(position uint64) bool { return l.last != nil && l.last.seq > position }
