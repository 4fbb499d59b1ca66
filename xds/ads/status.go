package ads

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
)

// Status is what the server and its Envoys are at.
type Status struct {
	// Revision of the registry that has been applied.
	Revision int64 `json:"revision"`
	// Envoys connected, by node id, then by the time they connected.
	Envoys []Envoy `json:"envoys"`
	// Rejections are all resources not served as the registry has them.
	Rejections []Rejection `json:"rejections"`
}

// Envoy is one connected Envoy.
type Envoy struct {
	Node    string `json:"node"`
	Cluster string `json:"cluster,omitempty"`
	// Version as the Envoy says, such as "1.40.0"; empty when it does not.
	Version   string    `json:"version,omitempty"`
	Address   string    `json:"address"`
	Connected time.Time `json:"connected"`
	// Revision of the registry up to which it has acknowledged the scopes; 0
	// when it has acknowledged none.
	Revision int64 `json:"revision"`
	// Duplicate says that another one has the same node id.
	Duplicate bool `json:"duplicate,omitempty"`
}

// Connected is the number of Envoys connected.
func (s *Server) Connected() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.streams)
}

// Status is a consistent view at one moment.
func (s *Server) Status() Status {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := Status{Revision: s.revision, Envoys: make([]Envoy, 0, len(s.streams)), Rejections: s.catalog.rejections()}
	seen := make(map[string]int, len(s.streams))
	for st := range s.streams {
		seen[st.node.id]++
		out.Envoys = append(out.Envoys, Envoy{
			Node: st.node.id, Cluster: st.node.cluster, Version: st.node.version,
			Address: st.address, Connected: st.connected, Revision: st.acknowledged(s.catalog.seq, s.revision),
		})
	}
	for i := range out.Envoys {
		out.Envoys[i].Duplicate = seen[out.Envoys[i].Node] > 1
	}
	slices.SortFunc(out.Envoys, func(a, b Envoy) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), a.Connected.Compare(b.Connected), cmp.Compare(a.Address, b.Address))
	})
	return out
}

// acknowledged is the revision that the stream has acknowledged, when the log
// ends at seq and the registry is at revision.
func (st *stream) acknowledged(seq uint64, revision int64) int64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	at, ok := st.accepted()
	switch {
	case !ok:
		return 0
	case at.seq >= seq: // nothing since has changed a resource
		return revision
	}
	return at.revision
}

// rejections are sorted by type and name.
func (c *catalog) rejections() []Rejection {
	out := make([]Rejection, 0, len(c.rejected)+len(c.invalid))
	out = slices.AppendSeq(out, maps.Values(c.rejected))
	out = slices.AppendSeq(out, maps.Values(c.invalid))
	slices.SortFunc(out, func(a, b Rejection) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Revision, b.Revision))
	})
	return out
}

// redacted stands in a dump for what is secret.
const redacted = "[redacted]"

// Dump is every resource as it is served now: clusters, secrets, listeners and
// scopes, each sorted by name. Private keys are redacted.
func (s *Server) Dump() ([]proto.Message, error) {
	s.mu.RLock()
	var list []*record
	for _, l := range s.catalog.logs {
		from := len(list)
		for r := l.live.first; r != nil; r = r.next {
			// A copy, since records change.
			list = append(list, &record{name: r.name, res: r.res})
		}
		slices.SortFunc(list[from:], func(a, b *record) int { return cmp.Compare(a.name, b.name) })
	}
	s.mu.RUnlock()

	out := make([]proto.Message, 0, len(list))
	for _, r := range list {
		m, err := r.res.GetResource().UnmarshalNew()
		if err != nil {
			return nil, fmt.Errorf("dump %s: %w", r.name, err)
		}
		if secret, ok := m.(*tlsv3.Secret); ok {
			if c := secret.GetTlsCertificate(); c != nil {
				c.PrivateKey = &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: redacted}}
			}
		}
		out = append(out, m)
	}
	return out, nil
}
