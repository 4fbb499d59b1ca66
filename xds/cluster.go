package xds

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	commondnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/common/dns/v3"
	dnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	caresv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/network/dns_resolver/cares/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mcpgate/mcpgate/registry"
)

// Limits and pace of a server's cluster.
const (
	// maxPerCluster bounds connections, requests and queued requests; long
	// streams hold theirs, so Envoy's 1024 would be reached by listeners alone.
	maxPerCluster = 4096
	// One lookup takes at most about a second for each address family and name
	// server: while any cluster waits for its first answer, Envoy holds back
	// the acknowledgements of all of them, and its own start.
	dnsQueryTimeoutSeconds = 1
	dnsQueryTries          = 1
	dnsRefresh             = 30 * time.Second
	dnsMinRefresh          = 5 * time.Second
	dnsJitter              = 2 * time.Second
	dnsFailureBase         = time.Second
	dnsFailureMax          = 10 * time.Second
)

// target is a parsed upstream URL.
type target struct {
	tls  bool
	host string     // without brackets and trailing dot
	addr netip.Addr // valid when host is a literal address
	port uint32
	// authority is the Host header: host and port as they stand in the URL.
	authority string
	// path is the escaped path, never empty.
	path string
}

// parseTarget reads what the registry has validated, and refuses what would
// have a meaning of its own here.
func parseTarget(raw string) (target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return target{}, fmt.Errorf("upstream URL %q: does not parse", raw)
	}
	t := target{tls: u.Scheme == "https", host: strings.TrimSuffix(u.Hostname(), "."), port: 80, authority: u.Host, path: u.EscapedPath()}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return target{}, fmt.Errorf("upstream URL %q: neither http nor https", raw)
	case t.host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(raw, "#"):
		return target{}, fmt.Errorf("upstream URL: no host, or user information, a query or a fragment")
	}
	if t.tls {
		t.port = 443
	}
	if p := u.Port(); p != "" || strings.HasSuffix(u.Host, ":") {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return target{}, fmt.Errorf("upstream URL %q: bad port", raw)
		}
		t.port = uint32(n)
	}
	if t.path == "" {
		t.path = "/"
	}
	if t.addr, err = netip.ParseAddr(t.host); err != nil {
		if err := checkHost(strings.ToLower(t.host)); err != nil {
			return target{}, fmt.Errorf("upstream URL %q: %w", raw, err)
		}
	} else if t.addr.Zone() != "" {
		return target{}, fmt.Errorf("upstream URL %q: an address zone has no meaning in Envoy", raw)
	}
	return t, nil
}

// Cluster is the upstream of one generation of a server. A literal address
// makes a STATIC cluster; a host name is resolved by Envoy. An https upstream
// is always verified. Cfg gives the system's certificate authorities.
func Cluster(s *registry.Server, cfg Config) (*clusterv3.Cluster, error) {
	if err := checkName(s.Name); err != nil {
		return nil, err
	}
	t, err := parseTarget(s.Upstream.URL)
	if err != nil {
		return nil, fmt.Errorf("server %s: %w", s.Name, err)
	}
	name := ClusterName(s.Name, s.Metadata.Generation)
	c := &clusterv3.Cluster{
		Name:           name,
		ConnectTimeout: duration(s.Upstream.ConnectTimeout.Or(registry.DefaultConnectTimeout)),
		CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
			MaxConnections:     wrapperspb.UInt32(maxPerCluster),
			MaxRequests:        wrapperspb.UInt32(maxPerCluster),
			MaxPendingRequests: wrapperspb.UInt32(maxPerCluster),
		}}},
		LoadAssignment: loadAssignment(name, t.host, t.port),
	}
	if t.addr.IsValid() {
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
		c.LoadAssignment = loadAssignment(name, t.addr.String(), t.port)
	} else if c.ClusterDiscoveryType, err = dnsDiscovery(); err != nil {
		return nil, err
	}
	if t.tls {
		if err := secure(c, t, s.Upstream.TLS, cfg); err != nil {
			return nil, fmt.Errorf("server %s: %w", s.Name, err)
		}
	}
	return c, nil
}

// loadAssignment is one endpoint.
func loadAssignment(cluster, host string, port uint32) *endpointv3.ClusterLoadAssignment {
	return &endpointv3.ClusterLoadAssignment{
		ClusterName: cluster,
		Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: socketAddress(host, port)}},
		}}}},
	}
}

// dnsDiscovery resolves a host name. All its addresses form one endpoint, so
// that an answer that rotates does not drain connections. IPv4 first: with
// Envoy's default an AAAA-first name never reaches a server that listens on
// IPv4 alone.
func dnsDiscovery() (*clusterv3.Cluster_ClusterType, error) {
	resolver, err := pack(&caresv3.CaresDnsResolverConfig{
		QueryTimeoutSeconds: wrapperspb.UInt64(dnsQueryTimeoutSeconds),
		QueryTries:          wrapperspb.UInt32(dnsQueryTries),
	})
	if err != nil {
		return nil, err
	}
	var config *anypb.Any
	config, err = pack(&dnsv3.DnsCluster{
		DnsRefreshRate: duration(dnsRefresh),
		DnsFailureRefreshRate: &dnsv3.DnsCluster_RefreshRate{
			BaseInterval: duration(dnsFailureBase),
			MaxInterval:  duration(dnsFailureMax),
		},
		RespectDnsTtl:                true,
		DnsMinRefreshRate:            duration(dnsMinRefresh),
		DnsJitter:                    duration(dnsJitter),
		DnsLookupFamily:              commondnsv3.DnsLookupFamily_V4_PREFERRED,
		AllAddressesInSingleEndpoint: true,
		TypedDnsResolverConfig: &corev3.TypedExtensionConfig{
			Name:        "envoy.network.dns_resolver.cares",
			TypedConfig: resolver,
		},
	})
	if err != nil {
		return nil, err
	}
	return &clusterv3.Cluster_ClusterType{ClusterType: &clusterv3.Cluster_CustomClusterType{
		Name:        "envoy.cluster.dns",
		TypedConfig: config,
	}}, nil
}
