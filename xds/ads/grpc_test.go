package ads

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// serve registers s on a gRPC server at a Unix socket.
func serve(t testing.TB, s *Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "xds.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(ServerOptions()...)
	s.Register(g)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "unix:" + path
}

// client is a gRPC client of the service.
func client(t testing.TB, target string) discoveryv3.AggregatedDiscoveryServiceClient {
	t.Helper()
	c, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return discoveryv3.NewAggregatedDiscoveryServiceClient(c)
}

type deltaClient = discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient

// remote is an Envoy over gRPC that acknowledges all, and hands on what it got.
func remote(ctx context.Context, t testing.TB, c discoveryv3.AggregatedDiscoveryServiceClient, initial ...map[string]string) (deltaClient, <-chan *discoveryv3.DeltaDiscoveryResponse) {
	t.Helper()
	stream, err := c.DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range []kind{clusters, listeners, scopes} {
		var have map[string]string
		if i < len(initial) {
			have = initial[i]
		}
		if err := stream.Send(ask(k, have)); err != nil {
			t.Fatal(err)
		}
	}
	got := make(chan *discoveryv3.DeltaDiscoveryResponse, 1024)
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		defer close(got)
		for {
			r, err := stream.Recv()
			if err != nil {
				return
			}
			if err := stream.Send(ack(r)); err != nil {
				return
			}
			got <- r
		}
	}()
	return stream, got
}

func TestOverGRPC(t *testing.T) {
	t.Parallel()
	s := mustNew(t)
	mustLoad(t, s, 1, mcp("a", 1, 1, "/mcp"))
	c := client(t, serve(t, s))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	stream, got := remote(ctx, t, c)
	var first []string
	for range 4 {
		first = append(first, line(<-got))
	}
	// Which of the three requests are together in a flush is not fixed.
	wantLines(t, first[len(first)-1:], "SRDS +healthz")

	s.Apply(put(mcp("b", 2, 2, "/mcp")))
	report, err := s.Wait(soon(t), 2)
	if err != nil || report.Envoys != 1 || len(report.Rejected) != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	wantLines(t, []string{line(<-got), line(<-got)}, "CDS +s-b@2", "SRDS +b")
	s.Apply(drop(3, "a"))
	wantLines(t, []string{line(<-got), line(<-got)}, "SRDS -a", "CDS -s-a@1")

	// A second Envoy that has everything already gets the next change first.
	_, back := remote(ctx, t, c, versions(s, clusters), versions(s, listeners), versions(s, scopes))
	for s.Connected() < 2 {
		if _, err := s.Wait(soon(t), 3); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := s.Wait(soon(t), 3); err != nil || r.Envoys != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	s.Apply(put(mcp("c", 4, 4, "/mcp")))
	wantLines(t, []string{line(<-back), line(<-back)}, "CDS +s-c@4", "SRDS +c")

	if st := s.Status(); len(st.Envoys) != 2 || st.Envoys[0].Address == "" {
		t.Errorf("status %+v", st)
	}
	s.Close()
	for range got {
	}
	for err = nil; err == nil; {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("ended with %v", err)
	}
	for range back {
	}
}

func TestStateOfTheWorldIsUnimplemented(t *testing.T) {
	t.Parallel()
	s := mustNew(t)
	mustLoad(t, s, 1)
	stream, err := client(t, serve(t, s)).StreamAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unimplemented {
		t.Errorf("%v", err)
	}
}

func TestManyStreamsAllGetAChange(t *testing.T) {
	t.Parallel()
	const n = 200
	s := mustNew(t)
	mustLoad(t, s, 1, many(20)...)
	target := serve(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range n / 10 {
		c := client(t, target)
		for range 10 {
			remote(ctx, t, c)
		}
	}
	for rev := int64(2); ; rev++ {
		s.Apply(put(mcp("new", rev, rev, "/mcp")))
		r, err := s.Wait(soon(t), rev)
		if err != nil {
			t.Fatal(err)
		}
		if r.Envoys == n {
			break
		}
	}
}
