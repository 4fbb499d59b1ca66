// Package ads serves the gateway's Envoy resources over one delta aggregated
// discovery stream per Envoy (xDS v3, envoy.service.discovery.v3
// AggregatedDiscoveryService, DeltaAggregatedResources only).
//
// It owns the change log, the streams with their acknowledgements and
// refusals, the grace time in which two generations of an upstream stand side
// by side, and the waiting for Envoys. It does not build resources (package
// xds does), does not read the registry's store (package command feeds it
// snapshots and events), and decides nothing about a request.
//
// # The change log
//
// Every change of a resource gets the next number of one sequence that all
// types share. A log keeps each name once, ordered by its last change, so a
// stream needs no queue: it remembers the number up to which it has sent a
// type, and takes from the end of the log whatever is newer. A change costs
// the same however many resources there are, and a slow Envoy costs nothing.
// The version of a resource is a hash of its bytes: equal content is never
// sent again, and restarts and replicas agree.
//
//	Apply ── build ── validate ──> log ──┬── stream: position per type ── Envoy
//	           │           │             ├── stream …
//	           └─ refused: the last good stays, Status says so
//
// # Order
//
// One flush sends clusters, then scopes, and does not wait in between, since
// a cluster that is warming holds back Envoy's acknowledgements of all of
// them. A removed cluster is sent after Envoy has acknowledged every scope
// change that came before the removal. The scope named "healthz" is held in a
// first sync until the others are acknowledged.
//
// # Refusals
//
// Envoy 1.39 and 1.40 apply a refused response of scopes in part, and then
// take the same content, sent again, for no change: the neighbours of a bad
// scope are lost until their content differs. So every scope of a refused
// response is built again with a new rev and sent alone; the one that is
// refused alone is quarantined until its content changes. A refused response
// of clusters is sent again one by one, as it is.
package ads
