package ads

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/xds"
)

const (
	// DefaultGrace is how long a replaced generation of an upstream stays
	// beside the new one. A request's route metadata is fixed when its headers
	// arrive; its body may take xds.RequestTimeout, the decision the timeout of
	// ext_authz, and only then is the route chosen.
	DefaultGrace = 12 * time.Second
	// DefaultMaxStreams bounds the Envoys connected at one time.
	DefaultMaxStreams = 4096
	// lockedBuilds is how many resources are built while the lock is held.
	lockedBuilds = 64
)

// ErrClosed is returned by Wait when the server has been closed.
var ErrClosed = errors.New("xds server closed")

// Config is what a Server needs. XDS and Log are required.
type Config struct {
	XDS xds.Config
	Log *slog.Logger
	// Grace is DefaultGrace when zero.
	Grace time.Duration
	// MaxStreams is DefaultMaxStreams when zero.
	MaxStreams int
}

// Server is the aggregated discovery service. It is safe for concurrent use.
type Server struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer

	log        *slog.Logger
	maxStreams int
	// pause is scopePause, but for benchmarks of what it hides.
	pause func(scopes int) time.Duration

	loaded  chan struct{} // closed by the first Load
	done    chan struct{} // closed by Close
	stopped chan struct{} // closed when expireLoop has ended
	kick    chan struct{} // a grace time has begun

	// mu guards what follows. It is taken before the mu of a stream.
	mu       sync.RWMutex
	catalog  *catalog
	revision int64 // of the registry, applied
	streams  map[*stream]struct{}
	// unanswered are the responses of scopes that an Envoy, by its node id, has
	// been sent and not answered when its stream ended.
	unanswered map[string][]*sent
	// advanced is closed and replaced when revision or streams change.
	advanced chan struct{}
}

// New builds the listener and the fixed scopes, and starts the goroutine that
// ends grace times; Close stops it. Streams get nothing before the first Load.
func New(cfg Config) (*Server, error) { return newServer(cfg, xdsBuilders(cfg.XDS)) }

func newServer(cfg Config, b builders) (*Server, error) {
	if cfg.Grace == 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.MaxStreams == 0 {
		cfg.MaxStreams = DefaultMaxStreams
	}
	s := &Server{
		log:        cfg.Log,
		maxStreams: cfg.MaxStreams,
		pause:      scopePause,
		loaded:     make(chan struct{}),
		done:       make(chan struct{}),
		stopped:    make(chan struct{}),
		kick:       make(chan struct{}, 1),
		catalog:    newCatalog(b, cfg.Grace),
		streams:    make(map[*stream]struct{}),
		unanswered: make(map[string][]*sent),
		advanced:   make(chan struct{}),
	}
	m, err := xds.Listener(cfg.XDS)
	l, err := b.finish(listeners, xds.ListenerName, m, err)
	if err != nil {
		return nil, err
	}
	s.catalog.put(listeners, l, 0)
	if err := s.catalog.setFixed(); err != nil {
		return nil, err
	}
	go s.expireLoop()
	return s, nil
}

// Register makes g serve the discovery service. See ServerOptions for how g
// should be made.
func (s *Server) Register(g *grpc.Server) {
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, s)
}

// Close ends all streams with Unavailable, and every Wait with ErrClosed.
// Envoys keep what they have. It does not wait for the handlers, which the
// gRPC server owns.
func (s *Server) Close() {
	s.mu.Lock()
	select {
	case <-s.done:
	default:
		close(s.done)
	}
	s.mu.Unlock()
	<-s.stopped
}

// Load makes the snapshot the state that is served. The first Load lets
// streams begin; a later one, for a watcher that fell behind, applies the
// difference. A server that cannot be built is left out, or left as it was,
// and Status says why: that is no error of Load.
func (s *Server) Load(snap registry.Snapshot) error {
	var list []*registry.Server
	exists := make(map[string]bool)
	for _, r := range snap.Resources {
		if srv, ok := r.(*registry.Server); ok {
			exists[srv.Name] = true
			if srv.IsEnabled() {
				list = append(list, srv)
			}
		}
	}
	slices.SortFunc(list, func(a, b *registry.Server) int { return a.Key().Compare(b.Key()) })

	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.catalog.seq
	want := make(map[string]bool, len(list))
	for _, srv := range list {
		want[srv.Name] = true
	}
	for name := range s.catalog.servers {
		if !want[name] {
			s.catalog.withdraw(name, !exists[name], snap.Revision)
		}
	}
	for name := range s.catalog.invalid {
		if !want[name] {
			delete(s.catalog.invalid, name)
		}
	}
	now := time.Now()
	for i, b := range s.prepareAll(list) {
		s.catalog.set(b, max(list[i].Metadata.Revision, 0), now)
		s.logInvalid(b)
	}
	s.revision = max(s.revision, snap.Revision)
	select {
	case <-s.loaded:
	default:
		close(s.loaded)
	}
	s.published(before)
	return nil
}

// prepareAll builds in parallel, since a start with many servers is the one
// time when the sum of the builds is felt.
func (s *Server) prepareAll(list []*registry.Server) []built {
	out := make([]built, len(list))
	workers := runtime.GOMAXPROCS(0)
	var g errgroup.Group
	for w := range workers {
		g.Go(func() error {
			for i := w; i < len(list); i += workers {
				out[i] = s.catalog.prepare(list[i])
			}
			return nil
		})
	}
	_ = g.Wait() // no worker returns an error
	return out
}

// Apply serves what a transaction has changed. A server that cannot be built
// stays as it was, and Status says why.
func (s *Server) Apply(ev registry.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, now := s.catalog.seq, time.Now()
	for _, ch := range ev.Changes {
		if ch.Key.Kind != registry.KindServer {
			continue
		}
		srv, ok := ch.Resource.(*registry.Server)
		if !ok || !srv.IsEnabled() {
			s.catalog.withdraw(ch.Key.Name, !ok, ev.Revision)
			continue
		}
		b := s.catalog.prepare(srv)
		s.catalog.set(b, ev.Revision, now)
		s.logInvalid(b)
	}
	s.revision = max(s.revision, ev.Revision)
	s.published(before)
}

func (s *Server) logInvalid(b built) {
	if b.err != nil {
		s.log.Error("server not published", "server", b.server.Name, "error", b.err)
	}
}

// published tells streams and waiters of what was done since the change before.
// The caller holds the lock.
func (s *Server) published(before uint64) {
	close(s.advanced)
	s.advanced = make(chan struct{})
	if s.catalog.seq == before {
		return
	}
	for k, l := range s.catalog.logs {
		l.compact(func() uint64 { return s.oldest(kind(k)) })
	}
	for st := range s.streams {
		st.poke()
	}
	if _, ok := s.catalog.due(); ok {
		select {
		case s.kick <- struct{}{}:
		default:
		}
	}
}

// oldest is the position of the stream that lags most behind.
func (s *Server) oldest(k kind) uint64 {
	position := s.catalog.seq
	for st := range s.streams {
		position = min(position, st.position(k))
	}
	return position
}

// SetCertificate serves the gateway's certificate to Envoys that ask for it by
// SDS. When the pair is not one, the last good stays and an error is returned,
// which does not quote it.
func (s *Server) SetCertificate(certPEM, keyPEM []byte) error {
	if _, err := tls.X509KeyPair(certPEM, keyPEM); err != nil {
		return fmt.Errorf("gateway certificate: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.catalog.build.finish(secrets, xds.SecretName, xds.Secret(certPEM, keyPEM), nil)
	if err != nil {
		return err
	}
	before := s.catalog.seq
	s.catalog.put(secrets, c, 0)
	s.published(before)
	return nil
}

// expireLoop ends grace times when they are over.
func (s *Server) expireLoop() {
	defer close(s.stopped)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := time.Hour
		s.mu.Lock()
		before, now := s.catalog.seq, time.Now()
		s.catalog.expire(now, lockedBuilds)
		if s.catalog.seq != before {
			s.published(before)
		}
		if at, ok := s.catalog.due(); ok {
			wait = at.Sub(now)
		}
		s.mu.Unlock()

		timer.Reset(wait)
		select {
		case <-s.done:
			return
		case <-s.kick:
		case <-timer.C:
		}
	}
}
