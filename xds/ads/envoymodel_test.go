package ads

import (
	"maps"
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/mcpgate/mcpgate/xds"
)

// envoyModel holds resources as Envoy does, with the faults that Envoy has.
// It survives its streams.
type envoyModel struct {
	// versions are what it lists when it reconnects.
	versions [kinds]map[string]string
	// live is what serves.
	live [kinds]map[string]string
	// stored is the scopes' main-thread copy, with which new content is
	// compared. After a refusal it can be ahead of live.
	stored map[string]string
	// bad decides which content is refused.
	bad func(k kind, content string) bool
	// quarantined asks the server about a scope.
	quarantined func(name string) bool
	// whole makes a refusal one of the decoding, which applies nothing.
	whole bool
	// refusals counts.
	refusals int
	// doubts are names that were in a refused response; equal content may be
	// sent for these.
	doubts map[resourceKey]bool
	// applied are the versions of live clusters. After a refusal they can be
	// ahead of versions, and when the stream ends then, no server can know.
	applied map[string]string
	unsure  map[string]bool
	// faults are breaches of what the server promises.
	faults []string
}

func newEnvoyModel(bad func(kind, string) bool) *envoyModel {
	e := &envoyModel{stored: make(map[string]string), bad: bad, doubts: make(map[resourceKey]bool), applied: make(map[string]string), unsure: make(map[string]bool)}
	for k := range kinds {
		e.versions[k], e.live[k] = make(map[string]string), make(map[string]string)
	}
	return e
}

// take applies a response and returns its answer.
func (e *envoyModel) take(r *discoveryv3.DeltaDiscoveryResponse) *discoveryv3.DeltaDiscoveryRequest {
	k, _ := kindOf(r.GetTypeUrl())
	e.check(k, r)
	isBad := func(res *discoveryv3.Resource) bool { return e.bad(k, string(res.GetResource().GetValue())) }
	refused := slices.ContainsFunc(r.GetResources(), isBad)
	if refused {
		e.refusals++
		for _, res := range r.GetResources() {
			e.doubts[resourceKey{k, res.GetName()}] = true
		}
	}
	if refused && e.whole {
		return nack(r, "Proto constraint validation failed")
	}
	for _, name := range r.GetRemovedResources() {
		delete(e.live[k], name)
		delete(e.versions[k], name)
		switch k {
		case scopes:
			delete(e.stored, name)
		case clusters:
			delete(e.applied, name)
			delete(e.unsure, name)
		case secrets, listeners, kinds:
		}
	}
	if k == scopes {
		e.takeScopes(r, isBad)
	} else {
		for _, res := range r.GetResources() {
			if !isBad(res) {
				e.live[k][res.GetName()] = string(res.GetResource().GetValue())
				if k == clusters {
					e.applied[res.GetName()] = res.GetVersion()
					delete(e.unsure, res.GetName())
				}
			}
		}
	}
	if refused {
		return nack(r, "refused")
	}
	for _, res := range r.GetResources() {
		e.versions[k][res.GetName()] = res.GetVersion()
	}
	return ack(r)
}

// lost is the end of a stream.
func (e *envoyModel) lost() {
	for name, v := range e.applied {
		if e.versions[clusters][name] != v {
			e.unsure[name] = true
		}
	}
}

// takeScopes has the fault of Envoy: what comes before a bad scope is stored
// but does not serve, and is no change when it comes again.
func (e *envoyModel) takeScopes(r *discoveryv3.DeltaDiscoveryResponse, isBad func(*discoveryv3.Resource) bool) {
	serving := make(map[string]string)
	for _, res := range r.GetResources() {
		if isBad(res) {
			return
		}
		name, content := res.GetName(), string(res.GetResource().GetValue())
		if e.stored[name] != content {
			e.stored[name] = content
			serving[name] = content
		}
	}
	maps.Copy(e.live[scopes], serving)
}

// check finds breaches of the order and of what is sent at all.
func (e *envoyModel) check(k kind, r *discoveryv3.DeltaDiscoveryResponse) {
	for _, res := range r.GetResources() {
		name := res.GetName()
		if e.versions[k][name] == res.GetVersion() && !e.doubts[resourceKey{k, name}] {
			e.faults = append(e.faults, "equal content sent again: "+line(r))
		}
		if k != scopes {
			continue
		}
		for _, c := range clustersIn(res.GetResource().GetValue()) {
			// A quarantined cluster is kept out; its scope answers 503.
			if _, ok := e.live[clusters][c]; !ok && !e.doubts[resourceKey{clusters, c}] && !strings.HasPrefix(c, badCluster) {
				e.faults = append(e.faults, "scope "+name+" before its cluster "+c)
			}
		}
	}
	if k != clusters {
		return
	}
	for name, content := range e.live[scopes] {
		if e.doubts[resourceKey{scopes, name}] || e.quarantined(name) {
			continue // it may be older than what is kept out
		}
		for _, c := range clustersIn([]byte(content)) {
			if slices.Contains(r.GetRemovedResources(), c) && e.live[clusters][c] != "" {
				e.faults = append(e.faults, "cluster "+c+" removed while scope "+name+" uses it")
			}
		}
	}
}

// clustersIn are the clusters of servers that a marshalled scope leads to.
func clustersIn(b []byte) []string {
	var m routev3.ScopedRouteConfiguration
	if err := unmarshal(b, &m); err != nil {
		return []string{err.Error()}
	}
	var out []string
	for _, r := range m.GetRouteConfiguration().GetVirtualHosts()[0].GetRoutes() {
		if c := r.GetRoute().GetCluster(); strings.HasPrefix(c, xds.ClusterPrefix) && !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}
