package ads

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/xds"
)

func testXDS() xds.Config {
	return xds.Config{ExternalURL: "http://127.0.0.1:8080", Listen: "127.0.0.1:8080"}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// mustNew is a server with nothing loaded; the test's end closes it.
func mustNew(t testing.TB, change ...func(*builders)) *Server {
	t.Helper()
	b := xdsBuilders(testXDS())
	for _, f := range change {
		f(&b)
	}
	s, err := newServer(Config{XDS: testXDS(), Log: quiet()}, b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// mcp is a server whose upstream has the given path.
func mcp(name string, generation, revision int64, path string) *registry.Server {
	return &registry.Server{
		Name:     name,
		Metadata: registry.Metadata{Generation: generation, Revision: revision},
		Upstream: registry.Upstream{URL: "http://127.0.0.1:9000" + path},
	}
}

func snapshot(revision int64, list ...*registry.Server) registry.Snapshot {
	snap := registry.Snapshot{Revision: revision}
	for _, s := range list {
		snap.Resources = append(snap.Resources, s)
	}
	return snap
}

func mustLoad(t testing.TB, s *Server, revision int64, list ...*registry.Server) {
	t.Helper()
	if err := s.Load(snapshot(revision, list...)); err != nil {
		t.Fatal(err)
	}
}

func many(n int) []*registry.Server {
	list := make([]*registry.Server, n)
	for i := range list {
		list[i] = mcp(fmt.Sprintf("m%06d", i), 1, 1, "/mcp")
	}
	return list
}

func put(list ...*registry.Server) registry.Event {
	var ev registry.Event
	for _, s := range list {
		ev.Revision = max(ev.Revision, s.Metadata.Revision)
		ev.Changes = append(ev.Changes, registry.Change{Key: s.Key(), Resource: s})
	}
	return ev
}

func drop(revision int64, names ...string) registry.Event {
	ev := registry.Event{Revision: revision}
	for _, n := range names {
		ev.Changes = append(ev.Changes, registry.Change{Key: registry.Key{Kind: registry.KindServer, Name: n}})
	}
	return ev
}

// pipe is one stream in memory, whose every message the test sees and times.
// It is for use in a synctest bubble.
type pipe struct {
	discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	ctx    context.Context
	cancel context.CancelFunc
	in     chan *discoveryv3.DeltaDiscoveryRequest
	out    chan *discoveryv3.DeltaDiscoveryResponse
	ended  chan error
}

func (p *pipe) Context() context.Context     { return p.ctx }
func (p *pipe) SetHeader(metadata.MD) error  { return nil }
func (p *pipe) SendHeader(metadata.MD) error { return nil }

func (p *pipe) Send(r *discoveryv3.DeltaDiscoveryResponse) error {
	select {
	case p.out <- r:
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

func (p *pipe) Recv() (*discoveryv3.DeltaDiscoveryRequest, error) {
	select {
	case r := <-p.in:
		return r, nil
	case <-p.ctx.Done():
		return nil, io.EOF
	}
}

// dial opens a stream; hangUp, or the test's end, closes it.
func dial(t testing.TB, s *Server) *pipe {
	t.Helper()
	p := &pipe{
		in:    make(chan *discoveryv3.DeltaDiscoveryRequest, 64),
		out:   make(chan *discoveryv3.DeltaDiscoveryResponse),
		ended: make(chan error, 1),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	go func() {
		err := s.DeltaAggregatedResources(p)
		p.cancel() // as gRPC does when a handler returns
		p.ended <- err
	}()
	return p
}

// hangUp ends the stream and waits for its handler.
func (p *pipe) hangUp() {
	p.cancel()
	<-p.ended
}

// next is the next response, or nil when the server has nothing to send now.
func (p *pipe) next() *discoveryv3.DeltaDiscoveryResponse {
	synctest.Wait()
	select {
	case r := <-p.out:
		return r
	default:
		return nil
	}
}

func testNode(id string) *corev3.Node { return &corev3.Node{Id: id, Cluster: "mcpgate"} }

// ask is a first request for a type.
func ask(k kind, initial map[string]string, names ...string) *discoveryv3.DeltaDiscoveryRequest {
	return &discoveryv3.DeltaDiscoveryRequest{
		Node: testNode("gw-1"), TypeUrl: k.typeURL(), InitialResourceVersions: initial, ResourceNamesSubscribe: names,
	}
}

func ack(r *discoveryv3.DeltaDiscoveryResponse) *discoveryv3.DeltaDiscoveryRequest {
	return &discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()}
}

func nack(r *discoveryv3.DeltaDiscoveryResponse, message string) *discoveryv3.DeltaDiscoveryRequest {
	req := ack(r)
	req.ErrorDetail = &statuspb.Status{Code: 13, Message: message}
	return req
}

// line is a response in short: "CDS +a +b -c".
func line(r *discoveryv3.DeltaDiscoveryResponse) string {
	if r == nil {
		return "nothing"
	}
	k, _ := kindOf(r.GetTypeUrl())
	s := [...]string{"CDS", "SDS", "LDS", "SRDS"}[k]
	for _, res := range r.GetResources() {
		s += " +" + res.GetName()
	}
	for _, n := range r.GetRemovedResources() {
		s += " -" + n
	}
	return s
}

// soon bounds a wait for something that a working server does at once.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func unmarshal(b []byte, m proto.Message) error { return proto.Unmarshal(b, m) }
