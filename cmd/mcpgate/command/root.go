package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/config"
	"github.com/mcpgate/mcpgate/extauthz/secret"
	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/api"
)

// Version of the program.
const Version = "2.1.0"

// Exit codes of the program.
const (
	exitOK       = 0
	exitFailure  = 1
	exitUsage    = 2
	exitConflict = 3
	exitNotFound = 4
)

// Main runs the program with the arguments and returns its exit code. SIGINT
// and SIGTERM end it in order; a second one ends it at once.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The default action is back once the first signal has been seen.
	context.AfterFunc(ctx, stop)

	root, started := newRootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintf(stderr, "mcpgate: error: %s\n", err)
	if hint := hintFor(err, *started); hint != "" {
		_, _ = fmt.Fprintf(stderr, "hint: %s\n", hint)
	}
	switch {
	case !*started, isUsage(err):
		return exitUsage
	case errors.Is(err, registry.ErrConflict):
		return exitConflict
	case errors.Is(err, registry.ErrNotFound):
		return exitNotFound
	}
	return exitFailure
}

// hintError carries advice beside an error.
type hintError struct {
	error
	hint string
}

func (e hintError) Unwrap() error { return e.error }

// withHint attaches advice to an error.
func withHint(err error, hint string) error { return hintError{err, hint} }

func hintFor(err error, started bool) string {
	var h hintError
	switch {
	case errors.As(err, &h):
		return h.hint
	case !started:
		return "mcpgate help shows the commands, and --help the flags of one"
	case errors.Is(err, api.ErrUnreachable):
		return "start one with mcpgate up, or name its socket with --admin or --config"
	case errors.Is(err, registry.ErrConflict):
		return "read it again with mcpgate get, and repeat the change on what is there now"
	case errors.Is(err, registry.ErrLocked):
		return "the file is locked by a gateway that runs; stop that one, or give this one another dataDir"
	}
	return ""
}

// globals are the flags that every command has.
type globals struct {
	configFile string
	admin      string
}

// newRootCommand builds the tree of commands. started becomes true when one of
// them begins to run: an error before that is one of usage.
func newRootCommand() (root *cobra.Command, started *bool) {
	started = new(bool)
	g := &globals{}
	root = &cobra.Command{
		Use:           "mcpgate",
		Short:         "Publish MCP servers through Envoy, with OAuth scopes for every tool.",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.PersistentFlags().StringVar(&g.configFile, "config", "", "Configuration file (default "+config.DefaultFile+", if there is one).")
	root.PersistentFlags().StringVar(&g.admin, "admin", "", "Admin address of a running gateway: unix:/path or host:port.")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		newDemoCommand(g),
		newUpCommand(g),
		newServeCommand(g),
		newBootstrapCommand(g),
		newApplyCommand(g),
		newGetCommand(g),
		newDeleteCommand(g),
		newExportCommand(g),
		newServerCommand(g),
		newRevokeCommand(g),
		newExplainCommand(g),
		newStatusCommand(g),
		newXDSCommand(g),
		newConfigCommand(g),
		newDBCommand(g),
		newVersionCommand(),
	)
	noteStart(root, started)
	return root, started
}

// config loads the configuration file.
func (g *globals) config() (config.Config, error) {
	c, err := config.Load(g.configFile)
	if err != nil {
		return c, withHint(err, "mcpgate config show prints a complete file with the defaults")
	}
	return c, nil
}

// client returns a client of the running gateway.
func (g *globals) client() (*api.Client, error) {
	address, token := g.admin, ""
	c, err := g.config()
	switch {
	case err == nil && address == "":
		address = c.Admin.Listen
	case err != nil && (address == "" || g.configFile != ""):
		return nil, err
	}
	if !strings.HasPrefix(address, "unix:") && err == nil && c.Admin.Token != "" {
		if token, err = secret.New(secret.Options{}).Resolve(c.Admin.Token); err != nil {
			return nil, fmt.Errorf("admin.token: %w", err)
		}
	}
	if err == nil && address == c.Admin.Listen {
		return configuredClient(c.Admin, token)
	}
	return api.NewClient(address, token, nil), nil
}

// configuredClient is a client of the admin endpoint of the configuration.
func configuredClient(a config.Admin, token string) (*api.Client, error) {
	tlsConfig, err := adminTLS(a)
	if err != nil {
		return nil, err
	}
	address := a.Listen
	if tlsConfig == nil && a.Insecure && !strings.HasPrefix(address, "unix:") {
		address = "http://" + address
	}
	return api.NewClient(address, token, tlsConfig), nil
}
