package xds

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	dnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	caresv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/network/dns_resolver/cares/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// validateCluster knows the clusters of servers.
func validateCluster(c *clusterv3.Cluster) []error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if !strings.HasPrefix(c.GetName(), ClusterPrefix) || !strings.Contains(c.GetName(), "@") {
		fail("name is not s-<server>@<generation>")
	}
	if c.GetConnectTimeout().AsDuration() <= 0 {
		fail("no connect timeout")
	}
	if len(c.GetCircuitBreakers().GetThresholds()) == 0 {
		fail("no circuit breakers")
	}
	if c.GetLoadAssignment().GetClusterName() != c.GetName() {
		fail("the load assignment has another name")
	}
	var addresses []*corev3.SocketAddress
	for _, locality := range c.GetLoadAssignment().GetEndpoints() {
		for _, e := range locality.GetLbEndpoints() {
			addresses = append(addresses, e.GetEndpoint().GetAddress().GetSocketAddress())
		}
	}
	if len(addresses) != 1 {
		fail("%d endpoints, not one", len(addresses))
	}
	for _, a := range addresses {
		if p := a.GetPortValue(); p == 0 || p > 65535 {
			fail("endpoint port %d", p)
		}
		_, err := netip.ParseAddr(a.GetAddress())
		switch {
		case c.GetClusterType() != nil:
			if err == nil {
				fail("address %q is literal, so nothing can be resolved", a.GetAddress())
			}
			errs = append(errs, validateDNS(c.GetClusterType())...)
		case c.GetType() != clusterv3.Cluster_STATIC:
			fail("type %s", c.GetType())
		case err != nil:
			fail("address %q is not literal", a.GetAddress())
		}
	}
	return append(errs, validateUpstreamTLS(c)...)
}

// validateDNS demands bounded lookups: one dead name would hold back Envoy's
// start and every acknowledgement.
func validateDNS(t *clusterv3.Cluster_CustomClusterType) []error {
	var config dnsv3.DnsCluster
	var resolver caresv3.CaresDnsResolverConfig
	if err := t.GetTypedConfig().UnmarshalTo(&config); err != nil {
		return []error{fmt.Errorf("cluster type: %w", err)}
	}
	if err := config.GetTypedDnsResolverConfig().GetTypedConfig().UnmarshalTo(&resolver); err != nil {
		return []error{fmt.Errorf("resolver: %w", err)}
	}
	if n := resolver.GetQueryTimeoutSeconds().GetValue(); n < 1 || n > 2 {
		return []error{errors.New("resolver: the query timeout is not 1 or 2 seconds")}
	}
	if n := resolver.GetQueryTries().GetValue(); n < 1 || n > 2 {
		return []error{errors.New("resolver: not 1 or 2 tries")}
	}
	return nil
}

// validateUpstreamTLS demands that TLS is verified, and that ALPN is chosen
// only where there is TLS.
func validateUpstreamTLS(c *clusterv3.Cluster) []error {
	socket := c.GetTransportSocket()
	if socket == nil {
		if len(c.GetTypedExtensionProtocolOptions()) > 0 {
			return []error{errors.New("protocol options without TLS")}
		}
		return nil
	}
	var config tlsv3.UpstreamTlsContext
	if err := socket.GetTypedConfig().UnmarshalTo(&config); err != nil {
		return []error{fmt.Errorf("transport socket: %w", err)}
	}
	v := config.GetCommonTlsContext().GetValidationContext()
	var errs []error
	if v.GetTrustedCa().GetFilename() == "" {
		errs = append(errs, errors.New("TLS without a CA file verifies nothing"))
	}
	if len(v.GetMatchTypedSubjectAltNames()) == 0 {
		errs = append(errs, errors.New("TLS without a name accepts every certificate of the CA"))
	}
	if v.GetTrustChainVerification() != tlsv3.CertificateValidationContext_VERIFY_TRUST_CHAIN || v.GetAllowExpiredCertificate() {
		errs = append(errs, errors.New("TLS verification is weakened"))
	}
	if config.GetCommonTlsContext().GetTlsParams().GetTlsMinimumProtocolVersion() < tlsv3.TlsParameters_TLSv1_2 {
		errs = append(errs, errors.New("TLS below 1.2"))
	}
	return errs
}
