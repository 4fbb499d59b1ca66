package xds

import (
	"time"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Limits of the public listener.
const (
	requestHeadersTimeout = 5 * time.Second
	idleTimeout           = 300 * time.Second
	connectionBuffer      = 32 << 10
	maxStreams            = 100
	streamWindow          = 64 << 10
	connectionWindow      = 1 << 20
)

// Request headers that a client must not send: the gateway's own, and those
// by which some upstreams would let a client say who it is, where it comes
// from, or which path or method it means.
var (
	strippedPrefixes = [...]string{"x-mcpgate", "x-original-", "x-rewrite-", "x-http-method", "x-method-", "x-envoy-"}
	strippedHeaders  = [...]string{"x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-uri", "x-real-ip", "forwarded", "proxy-authorization"}
)

// Listener is the public listener. Its content does not depend on the
// registry: an update of it ends old streams when its drain time is over.
func Listener(cfg Config) (*listenerv3.Listener, error) {
	addr, err := cfg.listenAddr()
	if err != nil {
		return nil, err
	}
	manager, err := connectionManager(cfg)
	if err != nil {
		return nil, err
	}
	packed, err := pack(manager)
	if err != nil {
		return nil, err
	}
	chain := &listenerv3.FilterChain{Filters: []*listenerv3.Filter{{
		Name:       filterHCM,
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed},
	}}}
	if cfg.TLS {
		if chain.TransportSocket, err = downstreamTLS(); err != nil {
			return nil, err
		}
	}
	return &listenerv3.Listener{
		Name:                          ListenerName,
		Address:                       socketAddress(addr.Addr().String(), uint32(addr.Port())),
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(connectionBuffer),
		FilterChains:                  []*listenerv3.FilterChain{chain},
	}, nil
}

// downstreamTLS takes the certificate from SDS, so that a renewed one needs no
// listener update.
func downstreamTLS() (*corev3.TransportSocket, error) {
	config, err := pack(&tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
		AlpnProtocols: []string{"h2", "http/1.1"},
		TlsParams:     &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2},
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{
			Name:      SecretName,
			SdsConfig: adsSource(),
		}},
	}})
	if err != nil {
		return nil, err
	}
	return &corev3.TransportSocket{
		Name:       socketTLS,
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: config},
	}, nil
}

// connectionManager has the rules of the wire: how a path is normalised, what
// is refused before anyone is asked, and the scope that a request belongs to.
// There are no upgrades, no CONNECT, no HTTP/1.0 and no trailers.
func connectionManager(cfg Config) (*hcmv3.HttpConnectionManager, error) {
	headerKiB, headers, err := cfg.headerLimits()
	if err != nil {
		return nil, err
	}
	filters, err := httpFilters(cfg)
	if err != nil {
		return nil, err
	}
	replies, err := localReplies()
	if err != nil {
		return nil, err
	}
	logs, err := accessLog(cfg.AccessLog)
	if err != nil {
		return nil, err
	}
	early, err := pack(earlyMutation())
	if err != nil {
		return nil, err
	}
	scopes := adsSource()
	// With the default of 15 s an Envoy that finds no control plane would open
	// its listener without routes.
	scopes.InitialFetchTimeout = duration(0)

	return &hcmv3.HttpConnectionManager{
		StatPrefix:                   "mcp",
		CodecType:                    hcmv3.HttpConnectionManager_AUTO,
		ServerName:                   "mcpgate",
		UseRemoteAddress:             wrapperspb.Bool(true),
		NormalizePath:                wrapperspb.Bool(true),
		MergeSlashes:                 true,
		PathWithEscapedSlashesAction: hcmv3.HttpConnectionManager_REJECT_REQUEST,
		StripPortMode:                &hcmv3.HttpConnectionManager_StripAnyHostPort{StripAnyHostPort: true},
		ForwardClientCertDetails:     hcmv3.HttpConnectionManager_SANITIZE,
		AlwaysSetRequestIdInResponse: true,
		MaxRequestHeadersKb:          wrapperspb.UInt32(headerKiB),
		RequestHeadersTimeout:        duration(requestHeadersTimeout),
		RequestTimeout:               duration(RequestTimeout),
		StreamIdleTimeout:            duration(idleTimeout),
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			IdleTimeout:                  duration(idleTimeout),
			HeadersWithUnderscoresAction: corev3.HttpProtocolOptions_REJECT_REQUEST,
			MaxHeadersCount:              wrapperspb.UInt32(headers),
		},
		Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
			MaxConcurrentStreams:        wrapperspb.UInt32(maxStreams),
			InitialStreamWindowSize:     wrapperspb.UInt32(streamWindow),
			InitialConnectionWindowSize: wrapperspb.UInt32(connectionWindow),
		},
		EarlyHeaderMutationExtensions: []*corev3.TypedExtensionConfig{{
			Name:        "envoy.http.early_header_mutation.header_mutation",
			TypedConfig: early,
		}},
		AccessLog:        logs,
		LocalReplyConfig: replies,
		RouteSpecifier: &hcmv3.HttpConnectionManager_ScopedRoutes{ScopedRoutes: &hcmv3.ScopedRoutes{
			Name: "servers",
			ScopeKeyBuilder: &hcmv3.ScopedRoutes_ScopeKeyBuilder{Fragments: []*hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder{{
				// The path is normalised before the key is taken from it, and
				// routes match the same path, so both always agree.
				Type: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_{
					HeaderValueExtractor: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor{
						Name:             ":path",
						ElementSeparator: "/",
						ExtractType:      &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_Index{Index: 1},
					},
				},
			}}},
			ConfigSpecifier: &hcmv3.ScopedRoutes_ScopedRds{ScopedRds: &hcmv3.ScopedRds{ScopedRdsConfigSource: scopes}},
		}},
		HttpFilters: filters,
	}, nil
}

// earlyMutation removes the stripped headers before anything reads them.
func earlyMutation() *headermutationv3.HeaderMutation {
	out := &headermutationv3.HeaderMutation{}
	for _, p := range strippedPrefixes {
		out.Mutations = append(out.Mutations, &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_RemoveOnMatch_{
			RemoveOnMatch: &mutationv3.HeaderMutation_RemoveOnMatch{KeyMatcher: &matcherv3.StringMatcher{
				MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: p},
			}},
		}})
	}
	for _, h := range strippedHeaders {
		out.Mutations = append(out.Mutations, &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Remove{Remove: h}})
	}
	return out
}
