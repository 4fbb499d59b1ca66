package ads

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestFirstRequestMustCarryAGoodNode(t *testing.T) {
	for name, n := range map[string]*corev3.Node{
		"none":           nil,
		"no id":          {Cluster: "x"},
		"long id":        {Id: strings.Repeat("x", maxNodeLength+1)},
		"control in id":  {Id: "a\nb"},
		"bad utf-8":      {Id: "a\xff"},
		"long cluster":   {Id: "a", Cluster: strings.Repeat("x", maxNodeLength+1)},
		"control in it":  {Id: "a", Cluster: "\x00"},
		"format of line": {Id: "a\u2028b"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := mustNew(t)
				mustLoad(t, s, 1)
				p := dial(t, s)
				p.in <- &discoveryv3.DeltaDiscoveryRequest{Node: n, TypeUrl: clusters.typeURL()}
				if err := <-p.ended; status.Code(err) != codes.InvalidArgument {
					t.Errorf("ended with %v", err)
				}
				if s.Connected() != 0 {
					t.Error("it was counted in")
				}
			})
		})
	}
}

func TestStreamsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		s.maxStreams = 1
		mustLoad(t, s, 1)
		p := started(t, s)
		q := dial(t, s)
		q.in <- ask(clusters, nil)
		if err := <-q.ended; status.Code(err) != codes.ResourceExhausted {
			t.Errorf("ended with %v", err)
		}
		p.hangUp()
		if s.Connected() != 0 {
			t.Error("still counted in")
		}
		started(t, s).hangUp()
	})
}

func TestNamesAreLimited(t *testing.T) {
	for name, names := range map[string][]string{
		"many": func() (out []string) {
			for i := range maxNames + 1 {
				out = append(out, strings.Repeat("x", i%maxNameLength+1)+string(rune('a'+i/maxNameLength)))
			}
			return out
		}(),
		"long": {strings.Repeat("x", maxNameLength+1)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := mustNew(t)
				mustLoad(t, s, 1)
				p := dial(t, s)
				p.in <- ask(secrets, nil, names...)
				err := <-p.ended
				if c := status.Code(err); c != codes.ResourceExhausted && c != codes.InvalidArgument {
					t.Errorf("ended with %v", err)
				}
			})
		})
	}
}

func TestUnknownTypesAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1)
		p := started(t, s)
		defer p.hangUp()
		p.in <- &discoveryv3.DeltaDiscoveryRequest{TypeUrl: "type.googleapis.com/envoy.service.runtime.v3.Runtime", ResponseNonce: "1"}
		s.Apply(put(mcp("a", 2, 2, "/mcp")))
		wantLines(t, p.drain(), "CDS +s-a@2", "SRDS +a")
	})
}

func TestNamesInPlaceOfEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1, mcp("a", 1, 1, "/mcp"), mcp("b", 1, 1, "/mcp"))
		p := dial(t, s)
		defer p.hangUp()
		have := versions(s, scopes)
		p.in <- ask(scopes, map[string]string{"a": have["a"]}, "a", "healthz", "nobody")
		wantLines(t, p.drain(), "SRDS -nobody", "SRDS +healthz")
		s.Apply(put(mcp("a", 2, 2, "/mcp"), mcp("b", 2, 2, "/mcp"), mcp("nobody", 2, 2, "/mcp")))
		wantLines(t, p.drain(), "SRDS +a +nobody")
		p.in <- &discoveryv3.DeltaDiscoveryRequest{TypeUrl: scopes.typeURL(), ResourceNamesUnsubscribe: []string{"a"}}
		synctest.Wait()
		s.Apply(drop(3, "a", "nobody"))
		wantLines(t, p.drain(), "SRDS -nobody")
		// Everything, then names again.
		p.in <- &discoveryv3.DeltaDiscoveryRequest{TypeUrl: scopes.typeURL(), ResourceNamesSubscribe: []string{"*"}}
		wantLines(t, p.drain(), "SRDS +.well-known +b", "SRDS +healthz")
		p.in <- &discoveryv3.DeltaDiscoveryRequest{TypeUrl: scopes.typeURL(), ResourceNamesUnsubscribe: []string{"*"}}
		synctest.Wait()
		s.Apply(drop(4, "b"))
		wantLines(t, p.drain())
	})
}

func TestStatusShowsWhoIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 5)
		p := dial(t, s)
		defer p.hangUp()
		req := ask(clusters, nil)
		req.Node.UserAgentVersionType = &corev3.Node_UserAgentBuildVersion{UserAgentBuildVersion: &corev3.BuildVersion{
			Version: &typev3.SemanticVersion{MajorNumber: 1, MinorNumber: 40},
		}}
		p.in <- req
		p.drain()
		st := s.Status()
		if len(st.Envoys) != 1 || st.Revision != 5 {
			t.Fatalf("status %+v", st)
		}
		e := st.Envoys[0]
		if e.Node != "gw-1" || e.Version != "1.40.0" || e.Revision != 0 || e.Duplicate || e.Connected != time.Now() {
			t.Errorf("envoy %+v", e)
		}
		p.in <- ask(scopes, nil)
		p.drain()
		// A revision that changes no resource is at once everybody's.
		s.Apply(put())
		s.mu.Lock()
		s.revision = 6
		s.mu.Unlock()
		if got := s.Status().Envoys[0].Revision; got != 6 {
			t.Errorf("revision %d", got)
		}
	})
}

func TestScopesAreCoalescedWhenThereAreMany(t *testing.T) {
	t.Parallel()
	if scopePause(busyScopes) != 0 || scopePause(100_000) != 20*time.Millisecond {
		t.Error("pause")
	}
	list := many(busyScopes)
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t)
		mustLoad(t, s, 1, list...)
		p := started(t, s)
		defer p.hangUp()
		begin := time.Now()
		var got []string
		for i, name := range []string{"x", "y", "z"} {
			s.Apply(put(mcp(name, int64(i+2), int64(i+2), "/mcp")))
			got = append(got, p.drain()...)
		}
		// The first pause began with the first sync.
		wantLines(t, got, "CDS +s-x@2", "CDS +s-y@3", "CDS +s-z@4")
		time.Sleep(scopePause(busyScopes + 5)) //nolint:forbidigo // the bubble's clock
		wantLines(t, p.drain(), "SRDS +x +y +z")
		if d := time.Since(begin); d > 5*time.Millisecond {
			t.Errorf("after %s", d)
		}
	})
}
