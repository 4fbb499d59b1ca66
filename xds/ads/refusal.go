package ads

import (
	"math"
	"strconv"
	"strings"
	"time"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"

	"github.com/mcpgate/mcpgate/xds"
)

// closedGate is a position that is never reached.
const closedGate = math.MaxUint64

// Rejection is a resource that is not served as the registry has it.
type Rejection struct {
	// Type is Cluster, ScopedRouteConfiguration, Listener or Secret.
	Type string `json:"type"`
	// Name of the resource. It is empty when an Envoy has refused a response
	// and it is not known yet which of its resources is the bad one.
	Name string `json:"name,omitempty"`
	// Server is the registry's server that the resource is of, if any.
	Server string `json:"server,omitempty"`
	// Revision of the registry that the content came from; 0 when none did.
	Revision int64 `json:"revision,omitempty"`
	// Node is the Envoy that refused; empty when the resource was found
	// invalid before it was sent.
	Node string `json:"node,omitempty"`
	// Message is Envoy's, or the validation's.
	Message string    `json:"message"`
	Time    time.Time `json:"time"`
}

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// serverOf is the server that a resource is of.
func (c *catalog) serverOf(k kind, name string) string {
	if k == clusters {
		name, _, _ = strings.Cut(strings.TrimPrefix(name, xds.ClusterPrefix), "@")
	}
	if (k == clusters || k == scopes) && c.servers[name] != nil {
		return name
	}
	return ""
}

// refused is a response that an Envoy did not accept.
func (s *Server) refused(st *stream, k kind, e *sent, message string) {
	s.log.Error("envoy refused resources", "node", st.node.id, "type", k.String(), "resources", len(e.items), "message", message)
	switch {
	case len(e.items) == 0: // removals: there is nothing to send instead
		s.refusedUnnamed(st, k, message)
	case len(e.items) == 1 || k == secrets || k == listeners:
		s.refusedAlone(st, k, e.items, message)
	case k == scopes:
		s.healScopes(st, e.items)
	default:
		s.retryClusters(st, e.items, message)
	}
}

// refusedUnknown is a refusal of a response that is no longer known.
func (s *Server) refusedUnknown(st *stream, k kind, detail *statuspb.Status) {
	message := words(k, detail)
	s.log.Error("envoy refused an unknown response", "node", st.node.id, "type", k.String(), "message", message)
	s.refusedUnnamed(st, k, message)
}

func (s *Server) refusedUnnamed(st *stream, k kind, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejectUnnamed(st, k, message)
}

// rejectUnnamed keeps a refusal without a name while the Envoy is connected;
// nobody would take it back later. The caller holds the lock.
func (s *Server) rejectUnnamed(st *stream, k kind, message string) {
	if _, ok := s.streams[st]; ok {
		s.catalog.reject(st.node.id, k, "", s.revision, message)
	}
}

// reject keeps a refusal until the content changes.
func (c *catalog) reject(nodeID string, k kind, name string, revision int64, message string) {
	c.rejected[resourceKey{k, name}] = Rejection{
		Type: k.String(), Name: name, Server: c.serverOf(k, name),
		Revision: revision, Node: nodeID, Message: message, Time: time.Now(),
	}
}

// refusedAlone quarantines what was the only resource of a response: it cannot
// have been refused for another's sake. The listener and the certificate are
// kept for other Envoys, since none can do without.
func (s *Server) refusedAlone(st *stream, k kind, items []item, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, it := range items {
		r := it.rec
		r.doubt()
		st.doubtRemoval(k, r.name)
		if !it.same() {
			continue // what was refused is no longer wanted
		}
		s.catalog.reject(st.node.id, k, r.name, r.revision, message)
		if k == clusters || k == scopes {
			r.quarantined, r.suspect = true, false
		}
	}
}

// healScopes puts every scope of a refused response into the log again, with
// content that no Envoy has seen, to be sent alone. The lock is released now
// and then, since there can be many.
func (s *Server) healScopes(st *stream, items []item) {
	for len(items) > 0 {
		n := min(len(items), lockedBuilds)
		s.mu.Lock()
		before := s.catalog.seq
		for _, it := range items[:n] {
			r := it.rec
			r.doubt()
			seq := r.seq
			if err := s.catalog.heal(r, it.rev); err != nil {
				s.log.Error("scope not built again", "scope", r.name, "error", err)
				s.catalog.reject(st.node.id, scopes, r.name, r.revision, err.Error())
			}
			if r.seq != seq {
				r.suspect = true // to be sent alone
			}
		}
		s.published(before)
		items = items[n:]
		if len(items) == 0 {
			st.openGate(s.catalog.seq)
		}
		s.mu.Unlock()
	}
}

// openGate lets the stream go on when its scopes have reached the position.
func (st *stream) openGate(position uint64) {
	st.mu.Lock()
	st.gate = position
	st.mu.Unlock()
}

// retryClusters sends the clusters of a refused response to the same Envoy
// again, one by one: depending on the reason it has applied all good ones or
// none, and for those that it has this changes nothing. Until that has shown
// the bad ones, those that Envoy's words mention are taken for them.
func (s *Server) retryClusters(st *stream, items []item, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.mu.Lock()
	defer st.mu.Unlock()
	sub := &st.subs[clusters]
	named := false
	for _, it := range items {
		r := it.rec
		r.doubt()
		st.doubtRemoval(clusters, r.name)
		sub.alone = append(sub.alone, single{r, r.seq, sub.mark()})
		if it.same() && strings.Contains(message, r.name) {
			named = true
			s.catalog.reject(st.node.id, clusters, r.name, r.revision, message)
		}
	}
	if !named {
		st.unnamed = true
		s.rejectUnnamed(st, clusters, message)
	}
	st.poke()
}

// doubtRemoval forgets which version of a cluster the Envoy has, whose removal
// is held. The caller holds the lock of the stream.
func (st *stream) doubtRemoval(k kind, name string) {
	if o, ok := st.obsolete[name]; ok && k == clusters {
		o.version = ""
		st.obsolete[name] = o
	}
}

// trust clears a resource that was accepted alone.
func (s *Server) trust(k kind, it item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it.same() && !it.rec.quarantined {
		it.rec.suspect = false
		delete(s.catalog.rejected, resourceKey{k, it.rec.name})
	}
}

// forgetUnnamed drops what the Envoy has refused without a name: the resources
// are known by now, or the Envoy is gone.
func (c *catalog) forgetUnnamed(nodeID string) {
	for k := range kinds {
		if rej, ok := c.rejected[resourceKey{k, ""}]; ok && rej.Node == nodeID {
			delete(c.rejected, resourceKey{k, ""})
		}
	}
}
