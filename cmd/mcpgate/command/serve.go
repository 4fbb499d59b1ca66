package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/config"
	"github.com/mcpgate/mcpgate/extauthz/check"
	"github.com/mcpgate/mcpgate/extauthz/listfilter"
	"github.com/mcpgate/mcpgate/extauthz/prm"
	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
	"github.com/mcpgate/mcpgate/extauthz/token"
	"github.com/mcpgate/mcpgate/registry/api"
	"github.com/mcpgate/mcpgate/xds/ads"
)

// ballastBytes are allocated and never touched, so they take no memory. They
// let the garbage of checks grow to this size before it is collected, when the
// registry alone is small; a large registry is not collected later for it.
const ballastBytes = 16 << 20

// stopGrace is how long a server waits for its calls to end by themselves.
const stopGrace = 5 * time.Second

func newServeCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "serve",
		Short:   "Run the registry, xDS, ext_authz and the admin API for Envoys that run elsewhere.",
		Example: "  mcpgate serve --config mcpgate.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := g.config()
			if err != nil {
				return err
			}
			log := newLogger(cfg.Log, cmd.ErrOrStderr())
			p, err := newProgram(cmd.Context(), cfg, log, cmd.OutOrStdout())
			if err != nil {
				return err
			}
			log.InfoContext(cmd.Context(), "serving", "admin", cfg.Admin.Listen, "xds", cfg.XDS.Listen, "ext_authz", cfg.ExtAuthz.Listen)
			return p.run(cmd.Context(), nil)
		},
	}
}

// program is a gateway with its sockets bound and not yet serving.
type program struct {
	*gateway
	servers    []boundServer
	closeAudit func() error
	// auditDropped is the number of audit lines that were not written.
	auditDropped func() int64
	// checks and replies are the two services that Envoy asks.
	checks  *check.Server
	replies *listfilter.Server
	ballast []byte
}

// boundServer is a server and the listener it will serve.
type boundServer struct {
	name     string
	listener net.Listener
	serve    func(net.Listener) error
	// stop ends serve; it waits for calls under way for a bounded time.
	stop func()
}

// newProgram opens the store, compiles it, and binds every socket. Nothing
// has been served when it fails.
func newProgram(ctx context.Context, cfg config.Config, log *slog.Logger, stdout io.Writer) (_ *program, err error) {
	warnInsecure(ctx, cfg, log)
	g, err := newGateway(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	p := &program{gateway: g, closeAudit: func() error { return nil }, auditDropped: func() int64 { return 0 }, ballast: make([]byte, ballastBytes)}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	authz, err := p.newAuthzServer(stdout)
	if err != nil {
		return nil, err
	}
	xdsServer, err := newGRPCServer(cfg.XDS, ads.ServerOptions())
	if err != nil {
		return nil, fmt.Errorf("xds: %w", err)
	}
	g.ads.Register(xdsServer)
	admin, err := p.newAdminServer()
	if err != nil {
		return nil, err
	}
	web, err := p.newWebServer()
	if err != nil {
		return nil, err
	}
	// Envoy may call as soon as it sees xds, so that comes last.
	for _, s := range []struct {
		name, address string
		server        any
	}{
		{"admin", cfg.Admin.Listen, admin},
		{"web", cfg.Web.Listen, web},
		{"authz", cfg.ExtAuthz.Listen, authz},
		{"xds", cfg.XDS.Listen, xdsServer},
	} {
		if err := p.bind(ctx, s.name, s.address, s.server); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *program) bind(ctx context.Context, name, address string, server any) error {
	l, err := listen(ctx, address)
	if err != nil {
		return err
	}
	b := boundServer{name: name, listener: l}
	switch s := server.(type) {
	case *grpc.Server:
		b.serve = s.Serve
		b.stop = func() {
			if name == "xds" {
				p.ads.Close() // its streams never end by themselves
			}
			stopGRPC(s)
		}
	case *http.Server:
		b.serve = s.Serve
		if s.TLSConfig != nil {
			b.serve = func(l net.Listener) error { return s.ServeTLS(l, "", "") }
		}
		b.stop = func() { stopHTTP(s) }
	}
	p.servers = append(p.servers, b)
	return nil
}

// run serves until ctx ends or a part fails. first adds the parts that depend
// on the servers, and so are stopped before them.
func (p *program) run(ctx context.Context, first func(*actors)) (err error) {
	defer func() { err = errors.Join(err, p.close()) }()
	a := newActors(ctx, p.log)
	if first != nil {
		first(a)
	}
	for _, s := range p.servers {
		a.add(s.name, func(ctx context.Context) error {
			stopped := make(chan struct{})
			defer func() { <-stopped }()
			// serve also ends by an error of its own.
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			go func() {
				defer close(stopped)
				<-ctx.Done()
				s.stop()
			}()
			if err := s.serve(s.listener); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, grpc.ErrServerStopped) {
				return err
			}
			return nil
		})
	}
	if p.cfg.Gateway.TLS.CertFile != "" {
		a.add("certificate", p.followCertificate)
	}
	a.add("session-keys", p.rotate)
	a.add("tasks", p.sweepTasks)
	a.add("registry", p.watch)
	p.ready.Store(true)
	return a.run()
}

func (p *program) close() error {
	errs := []error{p.gateway.close(), p.closeAudit()}
	for _, s := range p.servers {
		if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// newAuthzServer serves ext_authz and ext_proc on one socket.
func (p *program) newAuthzServer(stdout io.Writer) (*grpc.Server, error) {
	w, closeAudit, err := openAudit(p.cfg.Audit.Path, stdout)
	if err != nil {
		return nil, err
	}
	p.closeAudit = closeAudit
	var audit func(check.Record)
	if w != nil {
		a := check.NewAuditWriter(w, p.log)
		audit = a.Record
		p.auditDropped = a.Dropped
		p.closeAudit = func() error {
			a.Close()
			return closeAudit()
		}
	}
	server, err := newGRPCServer(p.cfg.ExtAuthz.Endpoint, check.ServerOptions())
	if err != nil {
		return nil, fmt.Errorf("extAuthz: %w", err)
	}
	limits := p.cfg.Limits
	p.checks = check.New(check.Config{
		Policies:       p.policies,
		Tokens:         p.tokens,
		Sessions:       p.keys,
		Secrets:        p.secrets,
		Exchanges:      p.trades,
		Tasks:          p.tasks,
		AllowedOrigins: p.cfg.Gateway.AllowedOrigins,
		Denial:         p.cfg.Gateway.Denial,
		Audit:          audit,
		Log:            p.log,
		Ready:          p.ready.Load,
		MaxInFlight:    limits.ChecksInFlight,
		Body:           rpcbody.Limits{Depth: limits.BodyDepth, Name: int(limits.NameBytes), URI: int(limits.URIBytes)},
	})
	p.checks.Register(server)
	p.replies = listfilter.New(listfilter.Config{
		Policies:      p.policies,
		Sessions:      p.keys,
		Tasks:         p.tasks,
		Log:           p.log,
		MaxReplyBytes: int(limits.ListReplyBytes),
		MaxItems:      limits.ListItems,
		MaxStreams:    limits.StreamsPerPrincipal,
	})
	p.replies.Register(server)
	return server, nil
}

// newWebServer serves what Envoy passes on without a decision: the documents
// of RFC 9728 and the health check.
func (p *program) newWebServer() (*http.Server, error) {
	mux := http.NewServeMux()
	mux.Handle("/.well-known/", prm.New(p.policies, token.NewMetadata(nil, nil)))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !p.ready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"status":"not ready"}`+"\n")
			return
		}
		_, _ = io.WriteString(w, `{"status":"ok"}`+"\n")
	})
	server := newHTTPServer(mux, p.log)
	tlsConfig, err := mutualTLS(p.cfg.Web)
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	server.TLSConfig = tlsConfig
	return server, nil
}

func (p *program) newAdminServer() (*http.Server, error) {
	handler := p.withMetrics(api.New(p.backend()))
	server := newHTTPServer(handler, p.log)
	if socketPath(p.cfg.Admin.Listen) != "" {
		return server, nil
	}
	adminToken, err := p.secrets.Resolve(p.cfg.Admin.Token)
	if err != nil {
		return nil, fmt.Errorf("admin.token: %w", err)
	}
	server.Handler = api.Authenticate(adminToken, handler)
	if p.cfg.Admin.TLS.CertFile != "" {
		if server.TLSConfig, err = serverTLS(p.cfg.Admin.TLS); err != nil {
			return nil, fmt.Errorf("admin: %w", err)
		}
	}
	return server, nil
}

func newHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

func newGRPCServer(e config.Endpoint, opts []grpc.ServerOption) (*grpc.Server, error) {
	tlsConfig, err := mutualTLS(e)
	if err != nil {
		return nil, err
	}
	if tlsConfig != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(tlsConfig)))
	}
	return grpc.NewServer(opts...), nil
}

// stopGRPC lets calls under way end, and cuts those that take too long: a
// stream of xDS or of a long reply never ends by itself.
func stopGRPC(s *grpc.Server) {
	t := time.AfterFunc(stopGrace, s.Stop)
	defer t.Stop()
	s.GracefulStop()
}

func stopHTTP(s *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		_ = s.Close() // what is left is cut
	}
}

// warnInsecure names, at every start, what the configuration leaves open.
func warnInsecure(ctx context.Context, c config.Config, log *slog.Logger) {
	for name, on := range map[string]bool{
		"xds": c.XDS.Insecure, "extAuthz": c.ExtAuthz.Insecure, "web": c.Web.Insecure, "admin": c.Admin.Insecure,
	} {
		if on {
			log.WarnContext(ctx, "served without TLS because the configuration says insecure", "endpoint", name)
		}
	}
}
