package envoy

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	connectionsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	heapv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/fixed_heap/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mcpgate/mcpgate/xds"
)

// programCluster is one of the program's own services. Its content never
// changes while Envoy runs: an update in place would fail requests.
type programCluster struct {
	name           string
	address        string
	connectTimeout time.Duration
	// http2 is gRPC; a peer that does not answer a ping in time is given up.
	http2                  bool
	pingEvery, pingTimeout time.Duration
	// busy raises the limits to those of the whole gateway.
	busy bool
}

// busyLimit is above what 20,000 connections can have in flight at once.
const busyLimit = 20000

// build makes the cluster; t is for an address that is not a socket.
func (p programCluster) build(t *TLS) (*clusterv3.Cluster, error) {
	e, err := parseEndpoint(p.address)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", p.name, err)
	}
	c := &clusterv3.Cluster{
		Name:                 p.name,
		ConnectTimeout:       durationpb.New(p.connectTimeout),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		LoadAssignment: &endpointv3.ClusterLoadAssignment{
			ClusterName: p.name,
			Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
				HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: e.proto()}},
			}}}},
		},
	}
	if e.pipe == "" {
		if !e.addr.IsValid() {
			c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_LOGICAL_DNS}
			c.DnsLookupFamily = clusterv3.Cluster_V4_PREFERRED
		}
		if t != nil {
			if c.TransportSocket, err = t.socket(e, p.http2); err != nil {
				return nil, fmt.Errorf("cluster %s: %w", p.name, err)
			}
		}
	}
	if p.busy {
		c.CircuitBreakers = &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
			MaxRequests:        wrapperspb.UInt32(busyLimit),
			MaxPendingRequests: wrapperspb.UInt32(busyLimit),
		}}}
	}
	if p.http2 {
		h2 := &corev3.Http2ProtocolOptions{ConnectionKeepalive: &corev3.KeepaliveSettings{
			Interval: durationpb.New(p.pingEvery),
			Timeout:  durationpb.New(p.pingTimeout),
		}}
		if p.busy {
			h2.MaxConcurrentStreams = wrapperspb.UInt32(1000)
		}
		options, err := pack(&httpv3.HttpProtocolOptions{
			UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{
				ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
					ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: h2},
				},
			},
		})
		if err != nil {
			return nil, err
		}
		c.TypedExtensionProtocolOptions = map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}
	}
	return c, nil
}

// socket is TLS that verifies the program at e and shows it a certificate.
func (t *TLS) socket(e endpoint, http2 bool) (*corev3.TransportSocket, error) {
	if t.CAFile == "" || (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("TLS needs a CA file, and a certificate file and a key file together")
	}
	name := t.ServerName
	if name == "" {
		name = e.host
	}
	san := &tlsv3.SubjectAltNameMatcher{
		SanType: tlsv3.SubjectAltNameMatcher_DNS,
		Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: name}},
	}
	sni := name
	if addr, err := netip.ParseAddr(name); err == nil {
		sni = ""
		san.SanType = tlsv3.SubjectAltNameMatcher_IP_ADDRESS
		san.Matcher.MatchPattern = &matcherv3.StringMatcher_Exact{Exact: addr.String()}
	}
	file := func(path string) *corev3.DataSource {
		return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: path}}
	}
	common := &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{
			TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2,
			TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
		},
		ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa:                 file(t.CAFile),
			MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{san},
		}},
	}
	if t.CertFile != "" {
		common.TlsCertificates = []*tlsv3.TlsCertificate{{CertificateChain: file(t.CertFile), PrivateKey: file(t.KeyFile)}}
	}
	if http2 {
		common.AlpnProtocols = []string{"h2"}
	}
	config, err := pack(&tlsv3.UpstreamTlsContext{Sni: sni, CommonTlsContext: common})
	if err != nil {
		return nil, err
	}
	return &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: config},
	}, nil
}

// deadEnd has no endpoints. It must be here: a cluster that CDS may change
// could get some, and one that does not exist lets an undecided request pass.
func deadEnd() *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 xds.ClusterNoDecision,
		ConnectTimeout:       durationpb.New(time.Second),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		LoadAssignment:       &endpointv3.ClusterLoadAssignment{ClusterName: xds.ClusterNoDecision},
	}
}

// overloadManager bounds connections and, since bodies are held whole before
// any token is looked at, memory.
func overloadManager(heap uint64, connections uint32) (*overloadv3.OverloadManager, error) {
	const connectionsName = "envoy.resource_monitors.global_downstream_max_connections"
	const heapName = "envoy.resource_monitors.fixed_heap"
	connectionsConfig, err := pack(&connectionsv3.DownstreamConnectionsConfig{MaxActiveDownstreamConnections: int64(connections)})
	if err != nil {
		return nil, err
	}
	heapConfig, err := pack(&heapv3.FixedHeapConfig{MaxHeapSizeBytes: heap})
	if err != nil {
		return nil, err
	}
	monitor := func(name string, config *anypb.Any) *overloadv3.ResourceMonitor {
		return &overloadv3.ResourceMonitor{Name: name, ConfigType: &overloadv3.ResourceMonitor_TypedConfig{TypedConfig: config}}
	}
	action := func(name string, at float64) *overloadv3.OverloadAction {
		return &overloadv3.OverloadAction{Name: name, Triggers: []*overloadv3.Trigger{{
			Name:         heapName,
			TriggerOneof: &overloadv3.Trigger_Threshold{Threshold: &overloadv3.ThresholdTrigger{Value: at}},
		}}}
	}
	return &overloadv3.OverloadManager{
		ResourceMonitors: []*overloadv3.ResourceMonitor{monitor(connectionsName, connectionsConfig), monitor(heapName, heapConfig)},
		Actions: []*overloadv3.OverloadAction{
			action("envoy.overload_actions.shrink_heap", 0.90),
			action("envoy.overload_actions.stop_accepting_requests", 0.95),
		},
	}, nil
}

// pack puts m into an Any, its maps in a stable order.
func pack(m proto.Message) (*anypb.Any, error) {
	a := &anypb.Any{}
	if err := anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		return nil, fmt.Errorf("pack %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return a, nil
}
