package ads

import (
	"maps"
	"slices"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// maxNames bounds the resources of one type that a stream subscribes to by
	// name. The gateway's Envoys name their certificate and nothing else.
	maxNames = 1024
	// maxNameLength bounds such a name, in bytes.
	maxNameLength = 512
	// wildcard subscribes to everything of a type.
	wildcard = "*"
)

// subscription is what a stream wants of one type, and how far it is.
type subscription struct {
	started bool
	// begun says that collect has run.
	begun bool
	all   bool
	names map[string]struct{}
	// pending are names to be sent whatever the position.
	pending map[string]struct{}
	// fresh says that everything is wanted and was not sent yet; initial is
	// what the Envoy said that it has.
	fresh   bool
	initial map[string]string

	// position up to which everything was taken from the log, and the
	// registry's revision there.
	position uint64
	revision int64

	// inflight are responses without an answer, oldest first.
	inflight []*sent
	// alone are resources to be sent one per response.
	alone []single
}

// sent is one response.
type sent struct {
	nonce string
	// base is where the stream was before the response.
	base  mark
	items []item
	// trial says that the one resource was sent alone to see whether it is
	// good.
	trial bool
}

// mark is a place in the sequence of changes.
type mark struct {
	seq uint64
	// revision of the registry that was applied there.
	revision int64
}

func (m mark) before(o mark) bool { return m.seq < o.seq }

// item is one resource as it was sent.
type item struct {
	rec *record
	res *discoveryv3.Resource
	rev uint64
}

// same reports whether the content sent is the current one.
func (it item) same() bool { return it.rec.res != nil && it.rec.version() == it.res.GetVersion() }

// single is a resource in the queue of those to be sent alone.
type single struct {
	rec  *record
	seq  uint64
	base mark
}

// mark is the position.
func (sub *subscription) mark() mark { return mark{sub.position, sub.revision} }

func (sub *subscription) moveTo(head mark) { sub.position, sub.revision = head.seq, head.revision }

// waits reports whether there is anything in the log for collect.
func (sub *subscription) waits(l *changelog) bool {
	return !sub.begun || sub.fresh || len(sub.pending) > 0 || l.live.newer(sub.position) || l.gone.newer(sub.position)
}

// wants reports whether the stream is to get the resource.
func (sub *subscription) wants(name string) bool {
	if sub.all {
		return true
	}
	_, ok := sub.names[name]
	return ok
}

// subscribe follows the xDS protocol ("How the client specifies what
// resources to return"): a first request without names asks for everything, as
// "*" does at any time; naming a resource again asks for it again.
func (sub *subscription) subscribe(add, drop []string, initial map[string]string) error {
	if !sub.started {
		sub.started = true
		sub.names, sub.pending = make(map[string]struct{}), make(map[string]struct{})
		sub.initial = initial
		if len(add) == 0 {
			sub.all, sub.fresh = true, true
		}
	}
	for _, name := range add {
		switch {
		case name == wildcard:
			if !sub.all {
				sub.all, sub.fresh = true, true
			}
			continue
		case len(name) > maxNameLength:
			return status.Errorf(codes.InvalidArgument, "resource name of %d bytes", len(name))
		case len(sub.names) >= maxNames && !contains(sub.names, name):
			return status.Errorf(codes.ResourceExhausted, "more than %d resource names", maxNames)
		}
		sub.names[name] = struct{}{}
		sub.pending[name] = struct{}{}
	}
	for _, name := range drop {
		if name == wildcard {
			sub.all, sub.fresh = false, false
		}
		delete(sub.names, name)
		delete(sub.pending, name)
	}
	return nil
}

func contains(set map[string]struct{}, name string) bool {
	_, ok := set[name]
	return ok
}

// delta is what to send of one type.
type delta struct {
	add  []*record
	gone []removal
	// answer says that an empty response must be sent too: an Envoy that knows
	// nothing waits for it.
	answer bool
}

// removal is a resource that the Envoy has and is not to have.
type removal struct {
	name string
	// seq of the change that removed it.
	seq uint64
	// version that the Envoy has, empty when that is not known.
	version string
}

// collect takes everything that the stream lacks and moves its position to
// head.
func (sub *subscription) collect(l *changelog, head mark) delta {
	var d delta
	switch {
	case sub.all && sub.fresh:
		d = sub.difference(l, head)
	case sub.begun:
		d = sub.newer(l)
	}
	sub.addPending(l, &d, head)
	sub.moveTo(head)
	sub.begun, sub.fresh, sub.initial = true, false, nil
	return d
}

// difference is everything that the Envoy has not, or has and should not.
func (sub *subscription) difference(l *changelog, head mark) delta {
	d := delta{answer: len(sub.initial) == 0}
	for r := l.live.first; r != nil; r = r.next {
		if !r.quarantined && sub.initial[r.name] != r.version() {
			d.add = append(d.add, r)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sub.initial)) {
		if _, ok := l.get(name); !ok {
			d.gone = append(d.gone, removal{name, head.seq, sub.initial[name]})
		}
	}
	return d
}

// newer is what has changed since the position.
func (sub *subscription) newer(l *changelog) delta {
	var d delta
	for _, r := range l.live.since(sub.position) {
		if !sub.wants(r.name) || r.quarantined {
			continue
		}
		if v, known := r.held(sub.position); known && v == r.version() {
			continue
		}
		d.add = append(d.add, r)
	}
	for _, r := range l.gone.since(sub.position) {
		if !sub.wants(r.name) {
			continue
		}
		v, known := r.held(sub.position)
		if known && v == "" {
			continue
		}
		d.gone = append(d.gone, removal{r.name, r.seq, v})
	}
	return d
}

// addPending adds the names asked for.
func (sub *subscription) addPending(l *changelog, d *delta, head mark) {
	if len(sub.pending) == 0 {
		return
	}
	have := make(map[string]struct{}, len(d.add))
	for _, r := range d.add {
		have[r.name] = struct{}{}
	}
	for _, name := range slices.Sorted(maps.Keys(sub.pending)) {
		r, ok := l.get(name)
		switch {
		case ok && (r.quarantined || contains(have, name)):
		case ok:
			if v, had := sub.initial[name]; !had || v != r.version() {
				d.add = append(d.add, r)
			}
		case l.kind == secrets:
			// A certificate that is not there yet is waited for.
		case !slices.ContainsFunc(d.gone, func(r removal) bool { return r.name == name }):
			d.gone = append(d.gone, removal{name, head.seq, sub.initial[name]})
		}
	}
	clear(sub.pending)
}
