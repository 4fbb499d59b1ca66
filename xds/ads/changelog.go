package ads

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

const (
	// versionBytes of the hash make a version; it travels with every resource
	// and comes back for every resource at each reconnect.
	versionBytes = 9
	// keepGone removals are kept without asking who still needs them.
	keepGone = 1024
	// maxGone removals are kept at most. A stream that needs older ones is
	// ended, and gets the difference when it comes back.
	maxGone = 65536
)

// changelog holds the resources of one type. The caller synchronises.
type changelog struct {
	kind  kind
	names map[string]*record
	live  list
	gone  list
	// compacted is the last change that was forgotten.
	compacted uint64
	// compactAt is the number of removals at which to compact next.
	compactAt int
}

func newChangelog(k kind) *changelog {
	return &changelog{kind: k, names: make(map[string]*record), compactAt: keepGone}
}

// content is a resource ready to be sent.
type content struct {
	name    string
	version string
	any     *anypb.Any
}

// encode marshals m, so that equal messages have equal bytes and versions.
func encode(k kind, name string, m proto.Message) (content, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return content{}, fmt.Errorf("encode %s %s: %w", k, name, err)
	}
	sum := sha256.Sum256(b)
	return content{
		name:    name,
		version: base64.RawURLEncoding.EncodeToString(sum[:versionBytes]),
		any:     &anypb.Any{TypeUrl: k.typeURL(), Value: b},
	}, nil
}

// put makes c the current content of its name and reports whether that is a
// change; next gives the number of the change.
func (l *changelog) put(c content, revision int64, next func() uint64) (*record, bool) {
	r := l.names[c.name]
	if r == nil {
		r = &record{name: c.name}
		l.names[c.name] = r
	}
	if r.res != nil && r.version() == c.version {
		r.revision = revision
		return r, false
	}
	r.change(next(), &discoveryv3.Resource{Name: c.name, Version: c.version, Resource: c.any}, revision)
	l.live.push(r)
	return r, true
}

// remove makes the name absent and reports whether that is a change.
func (l *changelog) remove(name string, revision int64, next func() uint64) bool {
	r := l.names[name]
	if r == nil || r.res == nil {
		return false
	}
	r.change(next(), nil, revision)
	l.gone.push(r)
	return true
}

// get is the record of a resource that exists.
func (l *changelog) get(name string) (*record, bool) {
	r := l.names[name]
	return r, r != nil && r.res != nil
}

// compact forgets removals that every stream has sent: those up to the
// position that oldest returns, which is asked only when there is something to
// gain. Above maxGone it forgets the oldest in any case.
func (l *changelog) compact(oldest func() uint64) {
	if l.gone.len < l.compactAt {
		return
	}
	for position := oldest(); l.gone.first != nil && l.gone.first.seq <= position; {
		l.forget(l.gone.first)
	}
	for l.gone.len > maxGone {
		l.compacted = l.gone.first.seq
		l.forget(l.gone.first)
	}
	l.compactAt = max(keepGone, min(2*l.gone.len, maxGone))
}

func (l *changelog) forget(r *record) {
	r.unlink()
	delete(l.names, r.name)
}
