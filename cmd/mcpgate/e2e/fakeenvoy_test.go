package e2e_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
)

// connectFake connects to the program as an Envoy that answers every response
// as told: with an error, with nil, or not at all when answer is nil.
func (g *gateway) connectFake(node string, answer func(*discoveryv3.DeltaDiscoveryResponse) error) {
	g.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	conn, err := grpc.NewClient("unix:"+filepath.Join(g.dir, "data", "xds.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		g.Fatal(err)
	}
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		g.Fatal(err)
	}
	for _, kind := range []string{
		"envoy.config.cluster.v3.Cluster", "envoy.config.listener.v3.Listener", "envoy.config.route.v3.ScopedRouteConfiguration",
	} {
		if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: node}, TypeUrl: "type.googleapis.com/" + kind}); err != nil {
			g.Fatal(err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			resp, err := stream.Recv()
			if err != nil {
				return
			}
			if answer == nil {
				continue
			}
			req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: resp.GetTypeUrl(), ResponseNonce: resp.GetNonce()}
			if err := answer(resp); err != nil {
				req.ErrorDetail = &rpcstatus.Status{Code: int32(codes.InvalidArgument), Message: err.Error()}
			}
			if err := stream.Send(req); err != nil {
				return
			}
		}
	}()
	g.Cleanup(func() {
		cancel()
		<-done
		_ = conn.Close()
	})
	g.eventually(node+" is connected", func() bool { return strings.Contains(g.mustRun("", "status"), node) })
}

// What an Envoy refuses is told in its own words and is a failure of the
// command; an Envoy that does not answer makes it one after the wait.
func TestApplyTellsWhatEnvoyRefuses(t *testing.T) {
	t.Parallel()
	g := prepare(t)
	g.configure("")
	g.launch("serve")
	g.eventually("the program answers", func() bool { return g.run("", "status").code == 0 })
	g.connectFake("picky", func(r *discoveryv3.DeltaDiscoveryResponse) error {
		for _, res := range r.GetResources() {
			if strings.Contains(res.GetName(), "bad") {
				return fmt.Errorf("picky does not like %s", res.GetName())
			}
		}
		return nil
	})
	g.apply(serverDoc("good", "http://127.0.0.1:9"))
	r := g.run(serverDoc("bad", "http://127.0.0.1:9"), "apply", "-f", "-")
	if r.code != 1 || !strings.Contains(r.stdout, "server/bad created") || !strings.Contains(r.stderr, "picky does not like") || !strings.Contains(r.stderr, "hint: ") {
		t.Errorf("apply of what is refused: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if out := g.mustRun("", "status"); !strings.Contains(out, "REFUSED") || !strings.Contains(out, "picky does not like") {
		t.Errorf("status:\n%s", out)
	}
	g.mustRun("", "server", "add", "fine", "http://127.0.0.1:9/mcp")
	g.mustRun("", "delete", "server", "bad")
	if out := g.mustRun("", "status"); strings.Contains(out, "REFUSED") {
		t.Errorf("status after the delete:\n%s", out)
	}

	g.connectFake("silent", nil)
	r = g.run("", "server", "add", "slow", "http://127.0.0.1:9/mcp", "--wait", "50ms")
	if r.code != 1 || !strings.Contains(r.stdout, "server/slow created") || !strings.Contains(r.stderr, "not every Envoy") {
		t.Errorf("add with a silent Envoy: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r := g.run("", "server", "disable", "slow", "--wait", "0"); r.code != 0 || r.stdout != "server/slow configured\n" {
		t.Errorf("disable without waiting: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}
