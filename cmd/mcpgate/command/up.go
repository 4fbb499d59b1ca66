package command

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpgate/mcpgate/envoy"
	"github.com/mcpgate/mcpgate/registry"
)

func newUpCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "up",
		Short:   "Run the gateway with an Envoy of its own: everything on one machine.",
		Example: "  mcpgate up --config mcpgate.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := g.config()
			if err != nil {
				return err
			}
			ctx, log := cmd.Context(), newLogger(cfg.Log, cmd.ErrOrStderr())
			binary, err := envoy.Find(cfg.Envoy.Path)
			if err != nil {
				return withHint(err, "make tools installs the pinned Envoy; envoy.path and $ENVOY name another")
			}
			p, err := newProgram(ctx, cfg, log, cmd.OutOrStdout())
			if err != nil {
				return err
			}
			log.InfoContext(ctx, "starting", "url", cfg.ExternalURL, "admin", cfg.Admin.Listen, "envoy", binary.Path, "envoy_version", binary.Version)
			return p.run(ctx, func(a *actors) {
				p.addEnvoy(a, binary, cmd.ErrOrStderr())
				a.add("readiness", func(ctx context.Context) error {
					if err := p.awaitEnvoy(ctx); err != nil {
						return err
					}
					log.InfoContext(ctx, "ready", "url", cfg.ExternalURL)
					<-ctx.Done()
					return nil
				})
			})
		},
	}
}

// addEnvoy adds a supervised Envoy to the group; what it writes goes to output.
func (p *program) addEnvoy(a *actors, binary envoy.Binary, output io.Writer) {
	a.add("envoy", func(ctx context.Context) error {
		bootstrap, err := localBootstrap(p.cfg).YAML()
		if err != nil {
			return err
		}
		s := envoy.Supervisor{
			Binary:      binary,
			Bootstrap:   bootstrap,
			Dir:         p.cfg.DataDir,
			AdminListen: p.cfg.Envoy.AdminListen,
			Output:      output,
			Concurrency: p.cfg.Envoy.Concurrency,
			LogLevel:    p.cfg.Envoy.LogLevel,
			Log:         p.log,
		}
		return s.Run(ctx)
	})
}

// awaitEnvoy returns when an Envoy is connected and every connected one has
// accepted what the store holds now.
func (p *program) awaitEnvoy(ctx context.Context) error {
	page, err := p.store.List(ctx, registry.KindIssuer, registry.ListOptions{Limit: 1})
	if err != nil {
		return err
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if rollout, err := p.wait(ctx, page.Revision); err != nil || rollout.Envoys > 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// nodeID names the Envoy of this machine in status and logs.
func nodeID() string {
	host, err := os.Hostname()
	if err != nil {
		return "mcpgate"
	}
	return host
}
