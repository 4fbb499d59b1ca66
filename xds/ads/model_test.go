package ads

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mcpgate/mcpgate/registry"
)

// world is a server, a few Envoys that come and go, and what the registry has.
type world struct {
	t        *testing.T
	s        *Server
	revision int64
	servers  map[string]*registry.Server
	envoys   []*envoyModel
	streams  []*pipe // nil when disconnected
}

// Marks in upstream paths that make the model refuse.
const (
	badScope   = "/refused-scope"
	badCluster = "s-refused"
)

func refuses(k kind, content string) bool {
	switch k {
	case scopes:
		return strings.Contains(content, badScope)
	case clusters:
		return strings.Contains(content, badCluster)
	case secrets, listeners, kinds:
	}
	return false
}

func (w *world) connect(i int) {
	w.streams[i] = dial(w.t, w.s)
	for _, k := range []kind{clusters, listeners, scopes} {
		w.streams[i].in <- named(ask(k, maps.Clone(w.envoys[i].versions[k])), i)
	}
}

func named(req *discoveryv3.DeltaDiscoveryRequest, i int) *discoveryv3.DeltaDiscoveryRequest {
	req.Node = testNode(fmt.Sprintf("gw-%d", i))
	return req
}

func (w *world) disconnect(i int) {
	w.streams[i].hangUp()
	w.streams[i] = nil
	w.envoys[i].lost()
}

// step lets one Envoy take one response, and perhaps lose its stream before
// the answer is out.
func (w *world) step(i int, lose bool) bool {
	r := w.streams[i].next()
	if r == nil {
		return false
	}
	answer := w.envoys[i].take(r)
	if lose {
		w.disconnect(i)
	} else {
		w.streams[i].in <- answer
	}
	return true
}

func (w *world) settle() {
	for busy := true; busy; {
		busy = false
		for i := range w.envoys {
			if w.streams[i] == nil {
				w.connect(i)
			}
			for w.step(i, false) {
				busy = true
			}
		}
	}
}

// change writes one or a few servers in one transaction.
func (w *world) change(rt *rapid.T) {
	w.revision++
	ev := registry.Event{Revision: w.revision}
	names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d", "refused"}), 1, 3, rapid.ID).Draw(rt, "names")
	slices.Sort(names)
	for _, name := range names {
		old := w.servers[name]
		ch := registry.Change{Key: registry.Key{Kind: registry.KindServer, Name: name}}
		next := mcp(name, w.revision, w.revision, "/mcp")
		if old != nil {
			c := *old
			next = &c
			next.Metadata.Revision = w.revision
		}
		switch rapid.SampledFrom([]string{"upstream", "upstream", "timeout", "back", "bad", "disable", "enable", "delete"}).Draw(rt, "what") {
		case "upstream":
			next.Upstream.URL = fmt.Sprintf("http://127.0.0.1:9000/mcp%d", w.revision)
			next.Metadata.Generation = w.revision
		case "timeout":
			next.Upstream.ConnectTimeout += registry.Duration(time.Millisecond)
		case "back":
			next.Upstream.ConnectTimeout = registry.Duration(time.Second)
			next.Upstream.IdleTimeout = registry.Duration(time.Second)
		case "bad":
			next.Upstream.URL = "http://127.0.0.1:9000" + badScope
			next.Metadata.Generation = w.revision
		case "disable":
			next.Enabled = new(bool)
		case "enable":
			next.Enabled = nil
		case "delete":
			if old == nil {
				continue
			}
			next = nil
		}
		if next == nil {
			delete(w.servers, name)
		} else {
			w.servers[name] = next
			ch.Resource = next
		}
		ev.Changes = append(ev.Changes, ch)
	}
	w.s.Apply(ev)
}

// repair makes everything good, so that nothing stays refused.
func (w *world) repair() {
	w.revision++
	ev := registry.Event{Revision: w.revision}
	for name, s := range w.servers {
		key := s.Key()
		switch {
		case name == "refused":
			delete(w.servers, name)
			ev.Changes = append(ev.Changes, registry.Change{Key: key})
		case strings.Contains(s.Upstream.URL, badScope):
			c := *s
			c.Upstream.URL = "http://127.0.0.1:9000/repaired"
			c.Metadata.Generation, c.Metadata.Revision = w.revision, w.revision
			w.servers[name] = &c
			ev.Changes = append(ev.Changes, registry.Change{Key: key, Resource: &c})
		}
	}
	w.s.Apply(ev)
}

func (w *world) checkFaults(rt *rapid.T) {
	for i, e := range w.envoys {
		if len(e.faults) > 0 {
			rt.Fatalf("envoy %d: %s", i, strings.Join(e.faults, "; "))
		}
	}
}

// served is what a server says that all have, but for the quarantined.
func served(s *Server, k kind) map[string]string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make(map[string]string)
	for r := s.catalog.logs[k].live.first; r != nil; r = r.next {
		if !r.quarantined {
			out[r.name] = string(r.res.GetResource().GetValue())
		}
	}
	return out
}

// bubble hides from rapid that it has a *testing.T, whose Deadline is not for
// a synctest bubble.
type bubble struct{ *testing.T }

// Whatever happens to an Envoy and its stream, it ends with exactly what a new
// one would get, and on the way no order is broken.
func TestEveryEnvoyEndsWithTheSameState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(bubble{t}, func(rt *rapid.T) {
			s := mustNew(t)
			defer s.Close()
			w := &world{t: t, s: s, servers: make(map[string]*registry.Server)}
			for range 2 {
				e := newEnvoyModel(refuses)
				e.quarantined = func(name string) bool {
					s.mu.RLock()
					defer s.mu.RUnlock()
					return s.catalog.quarantined(scopes, name)
				}
				e.whole = rapid.Bool().Draw(rt, "whole")
				w.envoys = append(w.envoys, e)
			}
			w.streams = make([]*pipe, len(w.envoys))
			defer func() {
				for i, p := range w.streams {
					if p != nil {
						w.disconnect(i)
					}
				}
			}()
			mustLoad(t, s, 0)

			anyEnvoy := rapid.IntRange(0, len(w.envoys)-1)
			rt.Repeat(map[string]func(*rapid.T){
				"change": w.change,
				"connect": func(rt *rapid.T) {
					if i := anyEnvoy.Draw(rt, "envoy"); w.streams[i] == nil {
						w.connect(i)
					}
				},
				"disconnect": func(rt *rapid.T) {
					if i := anyEnvoy.Draw(rt, "envoy"); w.streams[i] != nil {
						w.disconnect(i)
					}
				},
				"take": func(rt *rapid.T) {
					if i := anyEnvoy.Draw(rt, "envoy"); w.streams[i] != nil {
						for range rapid.IntRange(1, 6).Draw(rt, "n") {
							w.step(i, false)
						}
					}
				},
				"lose the answer": func(rt *rapid.T) {
					if i := anyEnvoy.Draw(rt, "envoy"); w.streams[i] != nil {
						w.step(i, true)
					}
				},
				"time passes": func(rt *rapid.T) {
					//nolint:forbidigo // the bubble's clock
					time.Sleep(rapid.SampledFrom([]time.Duration{time.Second, DefaultGrace / 2, DefaultGrace}).Draw(rt, "by"))
				},
				"": w.checkFaults,
			})

			w.repair()
			w.settle()
			time.Sleep(2 * DefaultGrace) //nolint:forbidigo // the bubble's clock
			w.settle()
			w.checkFaults(rt)
			if st := s.Status(); len(st.Rejections) > 0 {
				rt.Fatalf("rejections %+v", st.Rejections)
			}
			for k := range kinds {
				want := served(s, k)
				for i, e := range w.envoys {
					// Envoy does not list what it applied of a refused response, so
					// no server can set right what changed while the stream was
					// down: at worst a deleted cluster that nothing leads to, or an
					// older timeout.
					if k == clusters {
						for name := range e.unsure {
							delete(e.live[k], name)
							if c, ok := want[name]; ok {
								e.live[k][name] = c
							}
						}
					}
					if d := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(e.live[k]))); d != "" {
						rt.Fatalf("envoy %d %s (-server +envoy):\n%s", i, k, d)
					}
					for name := range want {
						if e.live[k][name] != want[name] {
							rt.Fatalf("envoy %d serves an older %s %s", i, k, name)
						}
					}
				}
			}
			// Nothing would be sent to an Envoy that comes back now.
			for i := range w.envoys {
				w.disconnect(i)
				w.connect(i)
				if r := w.streams[i].next(); r != nil && line(r) != "CDS" {
					rt.Fatalf("sent to a returning envoy: %s", line(r))
				}
			}
		})
	})
}
