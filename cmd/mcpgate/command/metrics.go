package command

import (
	"cmp"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/check"
	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
)

// withMetrics serves the metrics of the program at /metrics, in the formats of
// Prometheus, and everything else by next.
func (p *program) withMetrics(next http.Handler) http.Handler {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), programCollector{p})
	metrics := promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" || r.Method != http.MethodGet && r.Method != http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		metrics.ServeHTTP(w, r)
	})
}

// The metrics of the program. Their labels come from fixed lists and from the
// names of Issuers: nothing that a client sends becomes a label.
var (
	descBuild   = desc("build_info", "Version of the program; always 1.", "version")
	descReady   = desc("ready", "1 while everything that a decision needs is there.")
	descChecks  = desc("checks_total", "Decisions, by effect (allow, deny, fail) and the rule that made them.", "effect", "rule")
	descLatency = desc("check_duration_seconds", "Time from the arrival of a check to its answer.")
	descFlight  = desc("checks_in_flight", "Decisions under way.")

	descReplies    = desc("replies_total", "Inspected replies, by result (unchanged, changed, aborted, refused) and the rule that refused.", "result", "rule")
	descInspecting = desc("replies_in_flight", "Inspected replies under way, open GET streams among them.")
	descHeld       = desc("replies_held_bytes", "Bytes that unfinished replies and events hold.")
	descStreams    = desc("streams_open", "Open GET streams.")
	descPrincipals = desc("streams_principals", "Callers that have a GET stream open.")

	descTasks     = desc("tasks", "Tasks whose owner is known.")
	descContested = desc("tasks_contested_total", "Tasks that an upstream has given to two principals.")

	descLimits = desc("limit_hits_total", "Requests, replies and streams refused because of a limit of the configuration.", "limit")

	descCacheSize   = desc("token_cache_entries", "Verified tokens that are kept.")
	descCacheHits   = desc("token_cache_hits_total", "Tokens that were known.")
	descCacheMisses = desc("token_cache_misses_total", "Tokens that had to be verified or refused.")
	descKeys        = desc("issuer_keys", "Usable keys of the issuer.", "issuer")
	descKeyAge      = desc("issuer_key_age_seconds", "Time since the issuer last confirmed its keys.", "issuer")
	descUsable      = desc("issuer_usable", "1 while tokens of the issuer can be verified.", "issuer")

	descEnvoys     = desc("xds_envoys", "Connected Envoys.")
	descRejections = desc("xds_rejections", "Resources that are not served as the registry has them.")
	descPushed     = desc("xds_revision", "Revision of the registry that was passed on to the Envoys.")
	descAccepted   = desc("xds_accepted_revision", "Lowest revision that a connected Envoy has acknowledged; absent without one.")
	descRevision   = desc("registry_revision", "Revision of the registry that decides.")
	descRestarts   = desc("registry_watch_restarts_total", "Times that the program fell behind the store and caught up.")
	descDropped    = desc("audit_dropped_total", "Audit lines that were not written.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("mcpgate_"+name, help, labels, nil)
}

// limitRules are the limits of the configuration by the rule that a refusal
// because of them has. Those of headers and of the whole body are Envoy's.
var limitRules = []struct{ rule, limit string }{
	{rpcbody.RuleDepth, "bodyDepth"},
	{rpcbody.RuleMemberLength, "nameBytes, uriBytes"},
	{"reply-too-many-items", "listItems"},
	{"reply-too-large", "listReplyBytes"},
	{"reply-too-many-streams", "streamsPerPrincipal"},
	{string(extauthz.RuleOverload), "checksInFlight"},
}

// programCollector reads the counts of the parts of the program.
type programCollector struct{ *program }

// Describe implements prometheus.Collector.
func (programCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descBuild, descReady, descChecks, descLatency, descFlight,
		descReplies, descInspecting, descHeld, descStreams, descPrincipals, descTasks, descContested, descLimits,
		descCacheSize, descCacheHits, descCacheMisses, descKeys, descKeyAge, descUsable,
		descEnvoys, descRejections, descPushed, descAccepted, descRevision, descRestarts, descDropped,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c programCollector) Collect(ch chan<- prometheus.Metric) {
	s := sink(ch)
	s.gauge(descBuild, 1, Version)
	s.gauge(descReady, truth(c.ready.Load()))
	hits := make(map[string]uint64)
	c.collectChecks(s, hits)
	c.collectReplies(s, hits)
	c.collectTasks(s)
	for _, l := range limitRules {
		s.counter(descLimits, hits[l.rule], l.limit)
	}
	c.collectTokens(s)
	c.collectRegistry(s)
	s.counter(descDropped, uint64(c.auditDropped()))
}

func (c programCollector) collectChecks(s sink, hits map[string]uint64) {
	m := c.checks.Metrics()
	for _, n := range m.Decisions {
		s.counter(descChecks, n.N, n.Effect, string(n.Rule))
		if n.Effect != check.EffectAllow {
			hits[string(n.Rule)] += n.N
		}
	}
	s.gauge(descFlight, float64(m.InFlight))
	buckets := make(map[float64]uint64, len(m.Latency.Bounds))
	for i, b := range m.Latency.Bounds {
		buckets[b.Seconds()] = m.Latency.Buckets[i]
	}
	s <- prometheus.MustNewConstHistogram(descLatency, m.Latency.Count, m.Latency.Sum.Seconds(), buckets)
}

func (c programCollector) collectReplies(s sink, hits map[string]uint64) {
	m := c.replies.Metrics()
	s.counter(descReplies, m.Unchanged, "unchanged", "")
	s.counter(descReplies, m.Changed, "changed", "")
	s.counter(descReplies, m.Aborted, "aborted", "")
	for rule, n := range m.Refused {
		s.counter(descReplies, n, "refused", rule)
		hits[rule] += n
	}
	s.gauge(descInspecting, float64(m.InFlight))
	s.gauge(descHeld, float64(m.HeldBytes))
	s.gauge(descStreams, float64(m.Streams))
	s.gauge(descPrincipals, float64(m.Principals))
}

func (c programCollector) collectTasks(s sink) {
	m := c.tasks.Metrics()
	s.gauge(descTasks, float64(m.Bindings))
	s.counter(descContested, m.Contested)
	s.counter(descLimits, m.Full, "tasks.max")
	s.counter(descLimits, m.Evicted, "tasks.maxPerPrincipal")
}

func (c programCollector) collectTokens(s sink) {
	cache := c.tokens.CacheStatus()
	s.gauge(descCacheSize, float64(cache.Entries))
	s.counter(descCacheHits, cache.Hits)
	s.counter(descCacheMisses, cache.Misses)
	for _, i := range c.tokens.Status() {
		s.gauge(descKeys, float64(i.Keys), i.Name)
		s.gauge(descUsable, truth(i.Usable), i.Name)
		if i.Keys > 0 {
			s.gauge(descKeyAge, i.KeyAge.Seconds(), i.Name)
		}
	}
}

func (c programCollector) collectRegistry(s sink) {
	status := c.ads.Status()
	s.gauge(descEnvoys, float64(len(status.Envoys)))
	s.gauge(descRejections, float64(len(status.Rejections)))
	s.gauge(descPushed, float64(status.Revision))
	accepted := int64(0)
	for i, e := range status.Envoys {
		if i == 0 || cmp.Less(e.Revision, accepted) {
			accepted = e.Revision
		}
	}
	if len(status.Envoys) > 0 {
		s.gauge(descAccepted, float64(accepted))
	}
	s.gauge(descRevision, float64(c.policies.Revision()))
	s.counter(descRestarts, c.watchRestarts.Load())
}

// sink takes metrics.
type sink chan<- prometheus.Metric

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) counter(d *prometheus.Desc, v uint64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
