package ads

import "slices"

// maxUnanswered bounds the Envoys of which unanswered responses are kept.
const maxUnanswered = 16

// keepUnanswered remembers which scopes an Envoy may have stored without
// applying them, since its refusal may have been lost with the stream. A
// response of one scope has no such neighbours. The caller holds the lock.
func (s *Server) keepUnanswered(st *stream) {
	st.mu.Lock()
	defer st.mu.Unlock()
	list := st.subs[scopes].inflight
	if !slices.ContainsFunc(list, func(e *sent) bool { return len(e.items) > 1 }) {
		return
	}
	if len(s.unanswered) >= maxUnanswered {
		for id := range s.unanswered {
			delete(s.unanswered, id)
			break
		}
	}
	s.unanswered[st.node.id] = append(s.unanswered[st.node.id], list...)
}

// recoverUnanswered makes the scopes differ that an Envoy which comes back does
// not list as they were sent: it has refused the response, or never got it.
// They may be sent together, since nothing says that one of them is bad.
func (s *Server) recoverUnanswered(st *stream, versions map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.unanswered[st.node.id]
	delete(s.unanswered, st.node.id)
	if !st.returning {
		return // a new process
	}
	accepted := make(map[string]bool)
	for _, e := range list {
		for _, it := range e.items {
			if versions[it.rec.name] == it.res.GetVersion() {
				accepted[it.rec.name] = true
			}
		}
	}
	before := s.catalog.seq
	for _, e := range list {
		for _, it := range e.items {
			if len(e.items) == 1 || accepted[it.rec.name] {
				continue
			}
			it.rec.doubt()
			if err := s.catalog.heal(it.rec, it.rev); err != nil {
				s.log.Error("scope not built again", "scope", it.rec.name, "error", err)
			}
		}
	}
	s.published(before)
}
