package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/config"
	"github.com/mcpgate/mcpgate/cmd/mcpgate/demo"
	"github.com/mcpgate/mcpgate/envoy"
	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/manifest"
)

type demoOptions struct {
	listen string
}

func newDemoCommand(*globals) *cobra.Command {
	o := &demoOptions{}
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "Run everything with nothing to prepare, and print the commands to try.",
		Example: "  mcpgate demo",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	cmd.Flags().StringVar(&o.listen, "listen", "127.0.0.1:8080", "Address of the gateway.")
	return cmd
}

func (o *demoOptions) run(cmd *cobra.Command) (err error) {
	ctx := cmd.Context()
	binary, err := envoy.Find("")
	if err != nil {
		return withHint(err, "make tools installs the pinned Envoy")
	}
	if err := checkFree(ctx, o.listen); err != nil {
		return withHint(err, "name another address with --listen 127.0.0.1:PORT")
	}
	dir, err := os.MkdirTemp("", "mcpgate-demo-")
	if err != nil {
		return fmt.Errorf("create temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg, err := config.Parse(fmt.Appendf(nil,
		"dataDir: %q\nexternalURL: %q\ngateway: {listen: %q}\nlog: {level: warn}\nenvoy: {logLevel: error, concurrency: 2}\n",
		dir, "http://"+o.listen, o.listen))
	if err != nil {
		return err
	}
	p, err := newProgram(ctx, cfg, newLogger(cfg.Log, cmd.ErrOrStderr()), cmd.OutOrStdout())
	if err != nil {
		return err
	}
	d, err := newDemonstration(ctx, p)
	if err != nil {
		return errors.Join(err, p.close())
	}
	return p.run(ctx, func(a *actors) {
		p.addEnvoy(a, binary, cmd.ErrOrStderr())
		a.add("guide", func(ctx context.Context) error {
			if err := p.awaitEnvoy(ctx); err != nil {
				return err
			}
			if err := d.guide(cmd.OutOrStdout()); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		})
		for _, s := range d.servers {
			a.add(s.name, func(ctx context.Context) error {
				defer context.AfterFunc(ctx, func() { stopHTTP(s.server) })()
				if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
					return err
				}
				return nil
			})
		}
	})
}

// demonstration is what runs around the gateway.
type demonstration struct {
	cfg     config.Config
	alice   string
	servers []demoServer
}

type demoServer struct {
	name     string
	listener net.Listener
	server   *http.Server
}

// newDemonstration starts the sample servers' sockets and fills the registry.
func newDemonstration(ctx context.Context, p *program) (*demonstration, error) {
	d := &demonstration{cfg: p.cfg}
	for _, s := range demo.Servers() {
		if err := d.addServer(ctx, p, s.Name, s.Handler()); err != nil {
			return nil, err
		}
	}
	// The issuer's URL is known only when its socket is.
	late := &lateHandler{}
	if err := d.addServer(ctx, p, "issuer", late); err != nil {
		return nil, err
	}
	issuer, err := demo.NewIssuer(d.url("issuer"))
	if err != nil {
		return nil, err
	}
	if late.Handler, err = issuer.Handler(); err != nil {
		return nil, err
	}
	d.alice, err = issuer.Token("alice", p.cfg.ExternalURL, demo.Claims{"scope": "weather:read", "groups": []string{"/staff"}})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(p.cfg.DataDir, "alice.token"), []byte(d.alice), 0o600); err != nil {
		return nil, fmt.Errorf("write token: %w", err)
	}
	documents, err := manifest.Parse("demo", demo.Registry(issuer.URL, p.cfg.ExternalURL, d.url("weather"), d.url("notes")))
	if err != nil {
		return nil, err
	}
	var batch registry.Batch
	for _, r := range documents {
		batch.Writes = append(batch.Writes, registry.Write{Resource: r})
	}
	if _, err := registry.Apply(ctx, p.store, batch); err != nil {
		return nil, err
	}
	return d, nil
}

type lateHandler struct{ http.Handler }

func (d *demonstration) addServer(ctx context.Context, p *program, name string, h http.Handler) error {
	l, err := listen(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.servers = append(d.servers, demoServer{name: name, listener: l, server: newHTTPServer(h, p.log)})
	return nil
}

// url is the origin of a sample server.
func (d *demonstration) url(name string) string {
	for _, s := range d.servers {
		if s.name == name {
			return "http://" + s.listener.Addr().String()
		}
	}
	return ""
}

var guideText = template.Must(template.New("guide").Parse(`mcpgate demo: {{.URL}} with the servers weather and notes. Ctrl-C ends it and leaves nothing behind.
alice has the scope weather:read, and time:read through her group /staff. Paste these in another terminal:

# 1. List the tools of weather as alice: she sees two of three.
{{.Curl}} {{.URL}}/weather/mcp -d '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'

# 2. Call a tool that she may call.
{{.Curl}} {{.URL}}/weather/mcp -d '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"get_forecast","arguments":{"place":"Oslo"}}}'

# 3. Call one that she may not: 403, and the challenge names the scope that would help.
{{.Curl}} -i {{.URL}}/weather/mcp -d '{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"set_alert","arguments":{"place":"Oslo"}}}'

# 4. Add a third server while it runs, and call it at once.
{{.Mcpgate}} server add clock {{.Clock}}/mcp && {{.Curl}} {{.URL}}/clock/mcp -d '{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"get_time","arguments":{}}}'

# 5. Ask why number 3 was denied.
{{.Mcpgate}} explain --server weather --method tools/call --target set_alert --token-file {{.TokenFile}}
`))

// guide prints the commands to try.
func (d *demonstration) guide(w io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		self = "mcpgate"
	}
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, self); err == nil && !strings.HasPrefix(rel, "..") {
			self = "./" + rel
		}
	}
	return guideText.Execute(w, map[string]string{
		"URL":       d.cfg.ExternalURL,
		"Curl":      "curl -s -H 'Authorization: Bearer " + d.alice + "' -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream'",
		"Mcpgate":   self + " --admin " + d.cfg.Admin.Listen,
		"Clock":     d.url("clock"),
		"TokenFile": filepath.Join(d.cfg.DataDir, "alice.token"),
	})
}

// checkFree reports an address that something else listens on, before Envoy
// would.
func checkFree(ctx context.Context, address string) error {
	l, err := listen(ctx, address)
	if err != nil {
		return err
	}
	return l.Close()
}
