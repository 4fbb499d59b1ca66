package listfilter

import "sync/atomic"

// Metrics is what a Server has counted since it was made.
type Metrics struct {
	// Unchanged replies went through with nothing taken out, Changed ones with
	// something. Aborted ones ended early because the client or the upstream
	// went away.
	Unchanged, Changed, Aborted uint64
	// Refused has the refused replies by rule, one of Rules; those that never
	// occurred are left out.
	Refused map[string]uint64
	// InFlight is the number of replies under way, Streams that of the GET
	// streams among them, Principals of those who have such a stream.
	InFlight            int64
	Streams, Principals int
	// HeldBytes is what unfinished replies and events hold.
	HeldBytes int64
}

// meter counts without a lock: its map is written once.
type meter struct {
	refused                     map[reason]*atomic.Uint64
	unchanged, changed, aborted atomic.Uint64
	inFlight                    atomic.Int64
}

func (m *meter) init() {
	m.refused = make(map[reason]*atomic.Uint64)
	for _, id := range Rules() {
		m.refused[reason(id)] = new(atomic.Uint64)
	}
}

func (m *meter) refuse(why reason) {
	if n, ok := m.refused[why]; ok {
		n.Add(1)
	}
}

// Metrics returns the counts of this moment.
func (s *Server) Metrics() Metrics {
	m := Metrics{
		Unchanged: s.meter.unchanged.Load(),
		Changed:   s.meter.changed.Load(),
		Aborted:   s.meter.aborted.Load(),
		Refused:   make(map[string]uint64),
		InFlight:  s.meter.inFlight.Load(),
		HeldBytes: s.budget.used.Load(),
	}
	m.Streams, m.Principals = s.streams.count()
	for why, n := range s.meter.refused {
		if v := n.Load(); v > 0 {
			m.Refused[string(why)] = v
		}
	}
	return m
}
