package xds

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/mcpgate/mcpgate/registry"
)

// secure makes c speak TLS to t and verify it: Envoy verifies nothing without
// a trusted_ca, and no name without a SAN matcher.
//
// Both SNI and the expected name are written out. The automatic forms derive
// them from the Host header, which is the wrong name when tls.serverName says
// something else.
func secure(c *clusterv3.Cluster, t target, opt *registry.TLS, cfg Config) error {
	name, ca := t.host, cfg.systemCAFile()
	if opt != nil {
		if opt.ServerName != "" {
			name = opt.ServerName
		}
		if opt.CAFile != "" {
			ca = opt.CAFile
		}
	}
	if !strings.HasPrefix(ca, "/") {
		return fmt.Errorf("CA file %q: not an absolute path", ca)
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == "" {
		return errors.New("TLS server name: empty")
	}

	san := &tlsv3.SubjectAltNameMatcher{
		SanType: tlsv3.SubjectAltNameMatcher_DNS,
		Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: name}},
	}
	sni := name
	if addr, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		// RFC 6066 section 3: a literal address is not sent as SNI.
		sni = ""
		san.SanType = tlsv3.SubjectAltNameMatcher_IP_ADDRESS
		san.Matcher.MatchPattern = &matcherv3.StringMatcher_Exact{Exact: addr.String()}
	} else if err := checkHost(name); err != nil {
		return fmt.Errorf("TLS server name: %w", err)
	}

	socket, err := pack(&tlsv3.UpstreamTlsContext{
		Sni: sni,
		CommonTlsContext: &tlsv3.CommonTlsContext{
			TlsParams: &tlsv3.TlsParameters{
				TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2,
				// Envoy's default for clients ends at 1.2.
				TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
			},
			ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
				TrustedCa:                 &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: ca}},
				MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{san},
			}},
		},
	})
	if err != nil {
		return err
	}
	c.TransportSocket = &corev3.TransportSocket{
		Name:       socketTLS,
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: socket},
	}

	// HTTP/2 where the server offers it. Without TLS Envoy refuses this
	// choice, so plaintext upstreams get HTTP/1.1.
	options, err := pack(&httpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_AutoConfig{AutoConfig: &httpv3.HttpProtocolOptions_AutoHttpConfig{}},
	})
	if err != nil {
		return err
	}
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{httpProtocolOptions: options}
	return nil
}

// Secret is the gateway's certificate for SDS. Both parts are PEM; the message
// holds the private key and must not be shown.
func Secret(certPEM, keyPEM []byte) *tlsv3.Secret {
	inline := func(b []byte) *corev3.DataSource {
		return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: b}}
	}
	return &tlsv3.Secret{
		Name: SecretName,
		Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			CertificateChain: inline(certPEM),
			PrivateKey:       inline(keyPEM),
		}},
	}
}
