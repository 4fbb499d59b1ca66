package envoy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"
	"sigs.k8s.io/yaml"

	"github.com/mcpgate/mcpgate/xds"
)

// Defaults of a Bootstrap.
const (
	DefaultNodeID  = "mcpgate-envoy"
	DefaultCluster = "mcpgate"
	// DefaultAdminListen is a socket in Envoy's working directory.
	DefaultAdminListen = "unix:envoy-admin.sock"
	// DefaultMaxHeapBytes is enough for about 35,000 servers, at 50 KiB each.
	DefaultMaxHeapBytes   = 2 << 30
	DefaultMaxConnections = 20000
)

// Bootstrap is what an Envoy needs to know before it has reached the control
// plane. A zero field means its default.
//
// An address is "unix:PATH", where a relative path is relative to Envoy's
// working directory, or "host:port".
type Bootstrap struct {
	// NodeID tells the Envoys of one control plane apart; Cluster names their
	// group.
	NodeID, Cluster string
	// XDSAddress is the discovery service, AuthzAddress serves ext_authz and
	// ext_proc, WebAddress is the program's HTTP service. All are required.
	XDSAddress, AuthzAddress, WebAddress string
	// TLS is used for those of the addresses that are host:port; nil means
	// plaintext.
	TLS *TLS
	// AdminListen is where Envoy's admin endpoint listens: a socket, or a
	// loopback address.
	AdminListen string
	// MaxHeapBytes is the heap size near which Envoy stops to accept requests.
	MaxHeapBytes uint64
	// MaxConnections bounds the clients' connections.
	MaxConnections uint32
}

// TLS is how Envoy and the program know each other. All files are on the
// machine that Envoy runs on.
type TLS struct {
	// CAFile verifies the program.
	CAFile string
	// CertFile and KeyFile are the client certificate; both or none.
	CertFile, KeyFile string
	// ServerName is expected in the program's certificate; when empty, the host
	// of the address.
	ServerName string
}

// YAML is the bootstrap as a file for `envoy -c`.
func (b Bootstrap) YAML() ([]byte, error) {
	m, err := b.Proto()
	if err != nil {
		return nil, err
	}
	js, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write bootstrap: %w", err)
	}
	// Through YAML, since the text of protojson is unstable on purpose.
	out, err := yaml.JSONToYAML(js)
	if err != nil {
		return nil, fmt.Errorf("write bootstrap: %w", err)
	}
	return append([]byte(bootstrapComment), out...), nil
}

// bootstrapComment says how to start an Envoy by hand.
const bootstrapComment = `# Envoy bootstrap of mcpgate, for Envoy ` + MinVersion + ` or later. Start it with
#   envoy -c FILE --reject-unknown-dynamic-fields --disable-hot-restart \
#     --drain-time-s 3600 --drain-strategy immediate
`

// Proto is the bootstrap as a message. It lists every problem of b.
func (b Bootstrap) Proto() (*bootstrapv3.Bootstrap, error) {
	b = b.withDefaults()
	var errs []error
	admin, err := adminAddress(b.AdminListen)
	errs = append(errs, err)

	var clusters []*clusterv3.Cluster
	for _, c := range []programCluster{
		{name: xds.ClusterXDS, address: b.XDSAddress, connectTimeout: time.Second, http2: true, pingEvery: 10 * time.Second, pingTimeout: 5 * time.Second},
		{name: xds.ClusterAuthz, address: b.AuthzAddress, connectTimeout: 250 * time.Millisecond, http2: true, pingEvery: 5 * time.Second, pingTimeout: time.Second, busy: true},
		{name: xds.ClusterProc, address: b.AuthzAddress, connectTimeout: 250 * time.Millisecond, http2: true, pingEvery: time.Second, pingTimeout: time.Second, busy: true},
		{name: xds.ClusterWeb, address: b.WebAddress, connectTimeout: 250 * time.Millisecond},
	} {
		built, err := c.build(b.TLS)
		errs = append(errs, err)
		clusters = append(clusters, built)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	overload, err := overloadManager(b.MaxHeapBytes, b.MaxConnections)
	if err != nil {
		return nil, err
	}

	m := &bootstrapv3.Bootstrap{
		Node:  &corev3.Node{Id: b.NodeID, Cluster: b.Cluster},
		Admin: &bootstrapv3.Admin{Address: admin},
		// The statistics of the servers' clusters would cost more memory than
		// the servers themselves.
		StatsConfig: &metricsv3.StatsConfig{StatsMatcher: &metricsv3.StatsMatcher{
			StatsMatcher: &metricsv3.StatsMatcher_ExclusionList{ExclusionList: &matcherv3.ListStringMatcher{
				Patterns: []*matcherv3.StringMatcher{{
					MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: "cluster." + xds.ClusterPrefix},
				}},
			}},
		}},
		DeferredStatOptions: &bootstrapv3.Bootstrap_DeferredStatOptions{EnableDeferredCreationStats: true},
		ClusterManager:      &bootstrapv3.ClusterManager{EnableDeferredClusterCreation: true},
		OverloadManager:     overload,
		DynamicResources: &bootstrapv3.Bootstrap_DynamicResources{
			AdsConfig: &corev3.ApiConfigSource{
				ApiType:                   corev3.ApiConfigSource_DELTA_GRPC,
				TransportApiVersion:       corev3.ApiVersion_V3,
				SetNodeOnFirstMessageOnly: true,
				GrpcServices: []*corev3.GrpcService{{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
					EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
						ClusterName: xds.ClusterXDS,
						RetryPolicy: &corev3.RetryPolicy{RetryBackOff: &corev3.BackoffStrategy{
							BaseInterval: durationpb.New(100 * time.Millisecond),
							MaxInterval:  durationpb.New(time.Second),
						}},
					},
				}}},
			},
			CdsConfig: adsSource(),
			LdsConfig: adsSource(),
		},
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{Clusters: append(clusters, deadEnd())},
	}
	if err := xds.Validate(m); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	return m, nil
}

// withDefaults fills in the fields that have one.
func (b Bootstrap) withDefaults() Bootstrap {
	if b.NodeID == "" {
		b.NodeID = DefaultNodeID
	}
	if b.Cluster == "" {
		b.Cluster = DefaultCluster
	}
	if b.AdminListen == "" {
		b.AdminListen = DefaultAdminListen
	}
	if b.MaxHeapBytes == 0 {
		b.MaxHeapBytes = DefaultMaxHeapBytes
	}
	if b.MaxConnections == 0 {
		b.MaxConnections = DefaultMaxConnections
	}
	return b
}

// adsSource waits for the control plane for ever: with the default of 15 s
// Envoy would call itself ready, and open what it has, without it.
func adsSource() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		InitialFetchTimeout:   durationpb.New(0),
		ResourceApiVersion:    corev3.ApiVersion_V3,
	}
}

// endpoint is a parsed address.
type endpoint struct {
	pipe string // set for a socket
	host string
	addr netip.Addr // valid when host is a literal address
	port uint32
}

// parseEndpoint reads "unix:PATH" or "host:port".
func parseEndpoint(address string) (endpoint, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if path == "" {
			return endpoint{}, fmt.Errorf("address %q: no path", address)
		}
		return endpoint{pipe: path}, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return endpoint{}, fmt.Errorf("address %q: neither unix:PATH nor host:port", address)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return endpoint{}, fmt.Errorf("address %q: bad port", address)
	}
	e := endpoint{host: host, port: uint32(n)}
	if addr, err := netip.ParseAddr(host); err == nil {
		e.addr = addr
	}
	return e, nil
}

// proto is the endpoint as Envoy's address.
func (e endpoint) proto() *corev3.Address {
	if e.pipe != "" {
		return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: e.pipe}}}
	}
	host := e.host
	if e.addr.IsValid() {
		host = e.addr.String()
	}
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       host,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: e.port},
	}}}
}

// adminAddress refuses to show Envoy's admin endpoint, which can stop it, to
// the network.
func adminAddress(listen string) (*corev3.Address, error) {
	e, err := parseEndpoint(listen)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	if e.host == "localhost" {
		e.addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	m := e.proto()
	if e.pipe != "" {
		m.GetPipe().Mode = 0o600
	} else if !e.addr.IsLoopback() {
		return nil, fmt.Errorf("admin: address %q: neither a socket nor a loopback address", listen)
	}
	return m, nil
}
