package command

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/config"
	"github.com/mcpgate/mcpgate/envoy"
)

type bootstrapOptions struct {
	*globals
	nodeID, cluster      string
	xds, authz, web      string
	envoyAdmin           string
	caFile, cert, key    string
	serverName           string
	maxHeap, connections int64
}

func newBootstrapCommand(g *globals) *cobra.Command {
	o := &bootstrapOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "bootstrap",
		Short: "Print the bootstrap of an Envoy that runs elsewhere.",
		Long: `Print the bootstrap of an Envoy that runs elsewhere.

The addresses are those of the configuration, unless flags give the ones under
which the other machine or container reaches them. Start Envoy with
  envoy -c FILE --reject-unknown-dynamic-fields --disable-hot-restart --drain-time-s 3600 --drain-strategy immediate`,
		Example: `  mcpgate bootstrap > envoy.yaml
  mcpgate bootstrap --xds 10.0.0.5:18000 --ext-authz 10.0.0.5:18001 --web 10.0.0.5:18002 --ca-file /etc/mcpgate/ca.pem --cert-file /etc/mcpgate/envoy.pem --key-file /etc/mcpgate/envoy.key`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	fs := cmd.Flags()
	fs.StringVar(&o.nodeID, "node-id", "", "Name of this Envoy in status and logs (default "+envoy.DefaultNodeID+").")
	fs.StringVar(&o.cluster, "node-cluster", "", "Name of the group of Envoys (default "+envoy.DefaultCluster+").")
	fs.StringVar(&o.xds, "xds", "", "Address of xDS: unix:PATH or host:port.")
	fs.StringVar(&o.authz, "ext-authz", "", "Address of ext_authz and ext_proc: unix:PATH or host:port.")
	fs.StringVar(&o.web, "web", "", "Address of the program's HTTP service: unix:PATH or host:port.")
	fs.StringVar(&o.envoyAdmin, "envoy-admin", "", "Where Envoy's own admin interface listens (default "+envoy.DefaultAdminListen+", in its working directory).")
	fs.StringVar(&o.caFile, "ca-file", "", "CA of the program's certificate, as the Envoy's machine sees the file.")
	fs.StringVar(&o.cert, "cert-file", "", "Envoy's client certificate.")
	fs.StringVar(&o.key, "key-file", "", "Key of Envoy's client certificate.")
	fs.StringVar(&o.serverName, "server-name", "", "Name expected in the program's certificate (default the host of the address).")
	fs.Int64Var(&o.maxHeap, "max-heap-bytes", envoy.DefaultMaxHeapBytes, "Heap size near which Envoy stops to accept requests.")
	fs.Int64Var(&o.connections, "max-connections", envoy.DefaultMaxConnections, "Largest number of client connections.")
	return cmd
}

func (o *bootstrapOptions) run(cmd *cobra.Command) error {
	cfg, err := o.config()
	if err != nil {
		return err
	}
	if o.maxHeap <= 0 || o.connections <= 0 || o.connections > 1<<31 {
		return usageError{errors.New("max-heap-bytes and max-connections must be positive")}
	}
	b := envoy.Bootstrap{
		NodeID:         o.nodeID,
		Cluster:        o.cluster,
		XDSAddress:     or(o.xds, cfg.XDS.Listen),
		AuthzAddress:   or(o.authz, cfg.ExtAuthz.Listen),
		WebAddress:     or(o.web, cfg.Web.Listen),
		AdminListen:    o.envoyAdmin,
		MaxHeapBytes:   uint64(o.maxHeap),
		MaxConnections: uint32(o.connections),
	}
	if o.caFile != "" || o.cert != "" || o.key != "" || o.serverName != "" {
		b.TLS = &envoy.TLS{CAFile: o.caFile, CertFile: o.cert, KeyFile: o.key, ServerName: o.serverName}
	}
	text, err := b.YAML()
	if err != nil {
		return fmt.Errorf("build bootstrap: %w", err)
	}
	_, err = cmd.OutOrStdout().Write(text)
	return err
}

// or is value, or def when it is empty.
func or(value, def string) string {
	if value == "" {
		return def
	}
	return value
}

// localBootstrap is the bootstrap of the Envoy that this program runs.
func localBootstrap(c config.Config) envoy.Bootstrap {
	b := envoy.Bootstrap{
		NodeID:       nodeID(),
		XDSAddress:   c.XDS.Listen,
		AuthzAddress: c.ExtAuthz.Listen,
		WebAddress:   c.Web.Listen,
		AdminListen:  c.Envoy.AdminListen,
	}
	if tls := c.XDS.TLS; tls.CertFile != "" {
		// The program's own certificate serves as its Envoy's.
		abs := func(path string) string {
			if p, err := filepath.Abs(path); err == nil {
				return p
			}
			return path
		}
		b.TLS = &envoy.TLS{CAFile: abs(tls.ClientCAFile), CertFile: abs(tls.CertFile), KeyFile: abs(tls.KeyFile)}
	}
	return b
}
