package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/config"
	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/exchange"
	"github.com/mcpgate/mcpgate/extauthz/secret"
	"github.com/mcpgate/mcpgate/extauthz/session"
	"github.com/mcpgate/mcpgate/extauthz/task"
	"github.com/mcpgate/mcpgate/extauthz/token"
	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/boltstore"
	"github.com/mcpgate/mcpgate/xds"
	"github.com/mcpgate/mcpgate/xds/ads"
)

// gateway is the program's state: the store, and what is compiled from it. It
// is followed by the servers of serve.go.
type gateway struct {
	cfg      config.Config
	log      *slog.Logger
	store    *boltstore.Store
	policies *extauthz.Policies
	tokens   *token.Verifier
	secrets  *secret.Resolver
	trades   *exchange.Client
	keys     *session.Keyring
	tasks    *task.Table
	ads      *ads.Server
	applied  *progress
	// ready is true while everything that a decision needs is there.
	ready atomic.Bool
	// watchRestarts counts how often watch fell behind the store.
	watchRestarts atomic.Uint64

	// issuers and sessionKeys are what follow has passed on.
	issuers     map[string]struct{}
	sessionKeys map[string]*registry.SessionKey
}

// newGateway opens the store and compiles what is in it. Nothing is served
// yet; the caller must close what it gets.
func newGateway(ctx context.Context, cfg config.Config, log *slog.Logger) (_ *gateway, err error) {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	secrets := secret.New(secret.Options{})
	g := &gateway{
		cfg:         cfg,
		log:         log,
		policies:    extauthz.NewPolicies(extauthz.Config{ExternalURL: cfg.ExternalURL}),
		tokens:      token.New(token.Config{Log: log, Secrets: secrets}),
		secrets:     secrets,
		trades:      exchange.New(exchange.Config{Secrets: secrets}),
		keys:        session.NewKeyring(),
		applied:     newProgress(),
		issuers:     make(map[string]struct{}),
		sessionKeys: make(map[string]*registry.SessionKey),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
		}
	}()
	if g.ads, err = ads.New(ads.Config{XDS: xdsConfig(cfg), Log: log}); err != nil {
		return nil, err
	}
	if g.store, err = boltstore.Open(cfg.Store.Bolt.Path, boltstore.Options{Log: log}); err != nil {
		return nil, err
	}
	g.tasks = task.New(task.Config{
		Store: g.store, Max: cfg.Tasks.Max, MaxPerPrincipal: cfg.Tasks.MaxPerPrincipal, TTL: time.Duration(cfg.Tasks.TTL),
	})
	if _, err := rotateSessionKeys(ctx, g.store, cfg.Sessions, time.Now()); err != nil {
		return nil, err
	}
	if err := g.load(ctx); err != nil {
		return nil, err
	}
	if cfg.Gateway.TLS.CertFile != "" {
		if err := g.loadCertificate(); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// close releases everything. It may be called on a gateway half built.
func (g *gateway) close() error {
	g.ready.Store(false)
	if g.ads != nil {
		g.ads.Close()
	}
	g.tokens.Close()
	g.trades.Close()
	if g.store == nil {
		return nil
	}
	return g.store.Close()
}

// watch follows the store until ctx ends. The decision learns of a change
// before Envoy does: a route that Envoy has can always be judged.
func (g *gateway) watch(ctx context.Context) error {
	for {
		w, err := g.store.Watch(ctx, g.applied.revision())
		switch {
		case errors.Is(err, registry.ErrCompacted):
			g.watchRestarts.Add(1)
			if err := g.load(ctx); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("watch registry: %w", err)
		}
		for ev := range w.Events() {
			g.apply(ev)
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end that was asked for
		}
		// The watcher fell behind: what it missed is still in the store.
		g.watchRestarts.Add(1)
		g.log.WarnContext(ctx, "registry watch restarted", "error", w.Err())
		if errors.Is(w.Err(), registry.ErrClosed) {
			return w.Err()
		}
	}
}

// load brings everything from whatever it was to the store's present.
func (g *gateway) load(ctx context.Context) error {
	snap, err := g.store.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("read registry: %w", err)
	}
	g.policies.Load(snap)
	g.tasks.Load(snap)
	gone := maps.Clone(g.issuers)
	changes := make([]registry.Change, len(snap.Resources))
	for i, r := range snap.Resources {
		changes[i] = registry.Change{Key: r.Key(), Resource: r}
		if r.Key().Kind == registry.KindIssuer {
			delete(gone, r.Key().Name)
		}
	}
	for name := range gone {
		changes = append(changes, registry.Change{Key: registry.Key{Kind: registry.KindIssuer, Name: name}})
	}
	clear(g.sessionKeys)
	g.follow(changes)
	if err := g.ads.Load(snap); err != nil {
		return fmt.Errorf("build configuration: %w", err)
	}
	g.applied.reach(snap.Revision)
	return nil
}

// apply passes one transaction on.
func (g *gateway) apply(ev registry.Event) {
	g.policies.Apply(ev)
	g.tasks.Apply(ev)
	g.follow(ev.Changes)
	g.ads.Apply(ev)
	g.applied.reach(ev.Revision)
}

// follow passes issuers and session keys on to those who need them.
func (g *gateway) follow(changes []registry.Change) {
	keysChanged := false
	for _, c := range changes {
		switch c.Key.Kind {
		case registry.KindIssuer:
			if issuer, ok := c.Resource.(*registry.Issuer); ok {
				g.issuers[issuer.Name] = struct{}{}
				g.tokens.SetIssuer(issuer)
			} else {
				delete(g.issuers, c.Key.Name)
				g.tokens.RemoveIssuer(c.Key.Name)
			}
		case registry.KindSessionKey:
			keysChanged = true
			if key, ok := c.Resource.(*registry.SessionKey); ok {
				g.sessionKeys[key.Name] = key
			} else {
				delete(g.sessionKeys, c.Key.Name)
			}
		case registry.KindServer, registry.KindScope, registry.KindGroup, registry.KindRevocation, registry.KindTask:
		}
	}
	if keysChanged {
		g.keys.Set(slices.Collect(maps.Values(g.sessionKeys)))
	}
}

// xdsConfig is the part of the configuration that Envoy's resources depend on.
func xdsConfig(c config.Config) xds.Config {
	return xds.Config{
		ExternalURL:     c.ExternalURL,
		Listen:          c.Gateway.Listen,
		TLS:             c.Gateway.TLS.CertFile != "",
		Hosts:           c.Gateway.Hosts,
		MaxRequestBytes: int(c.Gateway.MaxRequestBytes),
		MaxHeaderBytes:  int(c.Limits.HeaderBytes),
		MaxHeaders:      c.Limits.HeaderCount,
		AllowedOrigins:  c.Gateway.AllowedOrigins,
		AuthzTimeout:    time.Duration(c.ExtAuthz.Timeout),
		AccessLog:       accessLogPath(c.Gateway.AccessLog),
		SystemCAFile:    systemCAFile(),
	}
}

func accessLogPath(path string) string {
	if path == "-" {
		return "/dev/stdout"
	}
	return path
}

// systemCAFile is where the system keeps its certificate authorities, or ""
// when none of the usual places has them.
func systemCAFile() string {
	for _, f := range []string{
		os.Getenv("SSL_CERT_FILE"),
		"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/ssl/ca-bundle.pem",
		"/etc/ssl/cert.pem",
	} {
		if info, err := os.Stat(f); err == nil && info.Mode().IsRegular() { //nolint:gosec // the operator's own environment
			return f
		}
	}
	return ""
}

// openAudit opens the stream of decisions; a nil writer means that it is off.
func openAudit(path string, stdout io.Writer) (io.Writer, func() error, error) {
	nothing := func() error { return nil }
	switch path {
	case "":
		return nil, nothing, nil
	case "-":
		return stdout, nothing, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, nil, fmt.Errorf("open audit stream: %w", err)
	}
	return f, f.Close, nil
}

// socketPath is the path of a "unix:" address, or "".
func socketPath(address string) string {
	path, ok := strings.CutPrefix(address, "unix:")
	if !ok {
		return ""
	}
	return path
}
