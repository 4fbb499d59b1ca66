package ads

import (
	"context"
	"math"
	"strconv"
	"sync"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// stream is one connected Envoy.
type stream struct {
	server    *Server
	grpc      discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	node      node
	address   string
	connected time.Time
	// returning says that the Envoy had resources when it connected, asked that
	// it has asked for scopes. Only receive uses them.
	returning, asked bool
	// wake has a token when there may be something to send.
	wake chan struct{}

	mu   sync.Mutex
	subs [kinds]subscription
	// nonces counts responses.
	nonces uint64
	// gate is a position that the scopes must have reached before anything
	// that depends on them goes on: where the scopes of a refused response
	// were changed.
	gate uint64
	// obsolete are removed clusters that the Envoy has, held until its scopes
	// have caught up; oldestObsolete is the least of their numbers.
	obsolete       map[string]removal
	oldestObsolete uint64
	// inherited is the most that have become obsolete at once, as when an Envoy
	// reconnects.
	inherited int
	// late is the scope kept back in a first sync, lateAfter the position that
	// must be acknowledged before.
	late      *record
	lateAfter uint64
	// nextScopes is when scopes may be sent again (see scopePause).
	nextScopes time.Time
	// stalled says that the last flush left something for an acknowledgement
	// to release.
	stalled bool
	waiters []*waiter
	// unnamed says that a response of clusters was refused and it is not known
	// yet for which.
	unnamed bool
}

// node is what the first request of a stream says of its sender.
type node struct {
	id, cluster, version string
}

// DeltaAggregatedResources implements the service for one Envoy.
func (s *Server) DeltaAggregatedResources(g discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	ctx := g.Context()
	first, err := g.Recv()
	if err != nil {
		return err
	}
	st := &stream{server: s, grpc: g, connected: time.Now(), wake: make(chan struct{}, 1), oldestObsolete: math.MaxUint64}
	if st.node, err = readNode(first); err != nil {
		return err
	}
	if p, ok := peer.FromContext(ctx); ok {
		st.address = p.Addr.String()
	}
	if err := s.admit(st); err != nil {
		return err
	}
	defer s.dismiss(st)

	// Recv returns when this handler has, so the goroutine ends with it.
	received := make(chan error, 1)
	go func() { received <- st.receive(first) }()
	select {
	case <-s.loaded:
	case err := <-received:
		return err
	case <-s.done:
		return status.Error(codes.Unavailable, "closing")
	}
	return st.send(ctx, received)
}

// admit counts the stream in, unless there are too many.
func (s *Server) admit(st *stream) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.done:
		return status.Error(codes.Unavailable, "closing")
	default:
	}
	if len(s.streams) >= s.maxStreams {
		s.log.Error("envoy refused, too many streams", "node", st.node.id, "address", st.address, "streams", len(s.streams))
		return status.Error(codes.ResourceExhausted, "too many streams")
	}
	s.streams[st] = struct{}{}
	s.log.Info("envoy connected", "node", st.node.id, "address", st.address, "envoy_version", st.node.version)
	return nil
}

// dismiss counts the stream out; nobody waits for it any more.
func (s *Server) dismiss(st *stream) {
	s.mu.Lock()
	delete(s.streams, st)
	s.keepUnanswered(st)
	s.catalog.forgetUnnamed(st.node.id)
	close(s.advanced)
	s.advanced = make(chan struct{})
	s.mu.Unlock()

	st.mu.Lock()
	waiters := st.waiters
	st.waiters = nil
	st.mu.Unlock()
	for _, w := range waiters {
		w.settle(false)
	}
	s.log.Info("envoy disconnected", "node", st.node.id, "address", st.address)
}

// poke makes send look again.
func (st *stream) poke() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// receive handles requests until the stream ends.
func (st *stream) receive(req *discoveryv3.DeltaDiscoveryRequest) error {
	for {
		if err := st.handle(req); err != nil {
			return err
		}
		var err error
		if req, err = st.grpc.Recv(); err != nil {
			return err
		}
	}
}

// send writes whatever is due. A slow Envoy blocks it in Send, and the
// changes of the meantime are found in the log.
func (st *stream) send(ctx context.Context, received <-chan error) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		f, err := st.flush(time.Now())
		if err != nil {
			return err
		}
		for _, r := range f.responses {
			if err := st.grpc.Send(r); err != nil {
				return err
			}
		}
		// When there was nothing to send, no answer will come.
		st.notify()
		if f.unnamed {
			st.tried()
		}
		if f.more {
			continue
		}
		var later <-chan time.Time
		if f.wait > 0 {
			timer.Reset(f.wait)
			later = timer.C
		}
		select {
		case <-st.wake:
		case <-later:
		case err := <-received:
			return err
		case <-st.server.done:
			return status.Error(codes.Unavailable, "closing")
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

// nonce names the next response of the stream.
func (st *stream) nonce() string {
	st.nonces++
	return strconv.FormatUint(st.nonces, 10)
}
