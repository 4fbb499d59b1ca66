package check

import (
	"sync/atomic"
	"time"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
)

// latencyBounds are the upper bounds of the buckets of Metrics.Latency. Envoy
// gives up after half a second by default.
var latencyBounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
	500 * time.Millisecond, time.Second,
}

// Metrics is what a Server has counted since it was made.
type Metrics struct {
	// Decisions has the checks that ended, by effect and rule; pairs that never
	// occurred are left out. A rule is one of a fixed list: nothing that a
	// client sends becomes a label.
	Decisions []Count
	// InFlight is the number of checks that have not ended.
	InFlight int64
	// Latency is of every check that ended.
	Latency Histogram
}

// Count is a number of checks.
type Count struct {
	// Effect is EffectAllow, EffectDeny or EffectFail.
	Effect string
	Rule   extauthz.Rule
	N      uint64
}

// Histogram is a distribution of durations. Buckets[i] counts those of at most
// Bounds[i], the shorter ones included.
type Histogram struct {
	Bounds  []time.Duration
	Buckets []uint64
	Count   uint64
	Sum     time.Duration
}

// meter counts without a lock: its map is written once.
type meter struct {
	// rules has a place for every rule there is; other is for a rule that is on
	// no list, which would be a mistake of ours.
	rules    map[extauthz.Rule]*effects
	other    effects
	inFlight atomic.Int64
	latency  [len(latencyBounds) + 1]atomic.Uint64
	sum      atomic.Int64
}

type effects struct{ allow, deny, fail atomic.Uint64 }

func (m *meter) init() {
	m.rules = make(map[extauthz.Rule]*effects)
	m.rules[extauthz.RuleGranted] = &effects{}
	for _, r := range extauthz.Rules() {
		m.rules[r] = &effects{}
	}
	for _, r := range rpcbody.Rules() {
		m.rules[extauthz.Rule(r)] = &effects{}
	}
}

func (m *meter) observe(effect string, rule extauthz.Rule, latency time.Duration) {
	e, ok := m.rules[rule]
	if !ok {
		e = &m.other
	}
	switch effect {
	case EffectAllow:
		e.allow.Add(1)
	case EffectDeny:
		e.deny.Add(1)
	default:
		e.fail.Add(1)
	}
	i := 0
	for i < len(latencyBounds) && latency > latencyBounds[i] {
		i++
	}
	m.latency[i].Add(1)
	m.sum.Add(int64(latency))
}

// Metrics returns the counts of this moment. They are read one after the
// other: a check that ends meanwhile may be in one and not in another.
func (s *Server) Metrics() Metrics {
	m := &s.meter
	out := Metrics{InFlight: m.inFlight.Load()}
	add := func(rule extauthz.Rule, e *effects) {
		for _, c := range [...]Count{
			{EffectAllow, rule, e.allow.Load()},
			{EffectDeny, rule, e.deny.Load()},
			{EffectFail, rule, e.fail.Load()},
		} {
			if c.N > 0 {
				out.Decisions = append(out.Decisions, c)
			}
		}
	}
	for rule, e := range m.rules {
		add(rule, e)
	}
	add("other", &m.other)
	h := Histogram{Bounds: latencyBounds[:], Buckets: make([]uint64, len(latencyBounds)), Sum: time.Duration(m.sum.Load())}
	for i := range m.latency {
		h.Count += m.latency[i].Load()
		if i < len(h.Buckets) {
			h.Buckets[i] = h.Count
		}
	}
	out.Latency = h
	return out
}
