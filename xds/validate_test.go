package xds_test

import (
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/xds"
)

var testConfig = xds.Config{ExternalURL: "https://gw.test", Listen: "127.0.0.1:8443", TLS: true}

// refused checks that a valid message becomes an invalid one, and that the
// error says why.
func refused[M proto.Message](t *testing.T, good func() M, changes map[string]func(M)) {
	t.Helper()
	if err := xds.Validate(good()); err != nil {
		t.Fatalf("refused before the change: %v", err)
	}
	for want, change := range changes {
		m := good()
		change(m)
		if err := xds.Validate(m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

// repack changes what is inside an Any.
func repack[M proto.Message](a *anypb.Any, into M, change func(M)) {
	if err := a.UnmarshalTo(into); err != nil {
		panic(err)
	}
	change(into)
	if err := a.MarshalFrom(into); err != nil {
		panic(err)
	}
}

func TestValidateRefusesACluster(t *testing.T) {
	t.Parallel()
	address := func(c *clusterv3.Cluster) *corev3.SocketAddress {
		return c.GetLoadAssignment().GetEndpoints()[0].GetLbEndpoints()[0].GetEndpoint().GetAddress().GetSocketAddress()
	}
	refused(t, func() *clusterv3.Cluster {
		return must(xds.Cluster(server("weather", 3, "http://127.0.0.1:9003"), testConfig))
	}, map[string]func(*clusterv3.Cluster){
		"is not literal":      func(c *clusterv3.Cluster) { address(c).Address = "up.example" },
		"port 0":              func(c *clusterv3.Cluster) { address(c).PortSpecifier = &corev3.SocketAddress_PortValue{} },
		"another name":        func(c *clusterv3.Cluster) { c.LoadAssignment.ClusterName = "x" },
		"name is not":         func(c *clusterv3.Cluster) { c.Name = "authz" },
		"no connect timeout":  func(c *clusterv3.Cluster) { c.ConnectTimeout = nil },
		"ConnectTimeout":      func(c *clusterv3.Cluster) { c.ConnectTimeout = durationpb.New(-1) },
		"no circuit breakers": func(c *clusterv3.Cluster) { c.CircuitBreakers = nil },
		"0 endpoints":         func(c *clusterv3.Cluster) { c.LoadAssignment.Endpoints = nil },
		"type EDS": func(c *clusterv3.Cluster) {
			c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}
		},
		"options without TLS": func(c *clusterv3.Cluster) {
			c.TypedExtensionProtocolOptions = map[string]*anypb.Any{"x": must(anypb.New(&clusterv3.Cluster_CustomClusterType{Name: "x"}))}
		},
		"unpack type.googleapis.com/": func(c *clusterv3.Cluster) {
			c.TypedExtensionProtocolOptions = map[string]*anypb.Any{"x": {TypeUrl: "type.googleapis.com/no.such.Message"}}
		},
	})

	tlsContext := func(c *clusterv3.Cluster, change func(*tlsv3.CommonTlsContext)) {
		repack(c.GetTransportSocket().GetTypedConfig(), &tlsv3.UpstreamTlsContext{}, func(m *tlsv3.UpstreamTlsContext) { change(m.GetCommonTlsContext()) })
	}
	refused(t, func() *clusterv3.Cluster {
		return must(xds.Cluster(server("weather", 3, "https://up.example"), testConfig))
	}, map[string]func(*clusterv3.Cluster){
		"is literal": func(c *clusterv3.Cluster) { address(c).Address = "127.0.0.1" },
		"verifies nothing": func(c *clusterv3.Cluster) {
			tlsContext(c, func(m *tlsv3.CommonTlsContext) { m.GetValidationContext().TrustedCa = nil })
		},
		"every certificate": func(c *clusterv3.Cluster) {
			tlsContext(c, func(m *tlsv3.CommonTlsContext) { m.GetValidationContext().MatchTypedSubjectAltNames = nil })
		},
		"weakened": func(c *clusterv3.Cluster) {
			tlsContext(c, func(m *tlsv3.CommonTlsContext) { m.GetValidationContext().AllowExpiredCertificate = true })
		},
		"below 1.2": func(c *clusterv3.Cluster) { tlsContext(c, func(m *tlsv3.CommonTlsContext) { m.TlsParams = nil }) },
		"cluster type": func(c *clusterv3.Cluster) {
			c.GetClusterType().TypedConfig = must(anypb.New(&clusterv3.Cluster{Name: "x"}))
		},
		"options without TLS": func(c *clusterv3.Cluster) { c.TransportSocket = nil },
	})
}

func TestValidateRefusesAScope(t *testing.T) {
	t.Parallel()
	host := func(s *routev3.ScopedRouteConfiguration) *routev3.VirtualHost {
		return s.GetRouteConfiguration().GetVirtualHosts()[0]
	}
	route := func(i int, change func(*routev3.Route)) func(*routev3.ScopedRouteConfiguration) {
		return func(s *routev3.ScopedRouteConfiguration) { change(host(s).GetRoutes()[i]) }
	}
	const inspect, plain, dead = 0, 1, 2
	refused(t, func() *routev3.ScopedRouteConfiguration {
		return must(xds.ServerScope([]*registry.Server{server("weather", 3, "http://127.0.0.1:9003")}, 1, testConfig))
	}, map[string]func(*routev3.ScopedRouteConfiguration){
		"key and route configuration differ": func(s *routev3.ScopedRouteConfiguration) { s.Name = "other" },
		"Key: value is required":             func(s *routev3.ScopedRouteConfiguration) { s.Key = nil },
		"validate_clusters":                  func(s *routev3.ScopedRouteConfiguration) { s.RouteConfiguration.ValidateClusters = nil },
		`domain "*"`:                         func(s *routev3.ScopedRouteConfiguration) { host(s).Domains = []string{"*"} },
		`domain "*.gw.test"`:                 func(s *routev3.ScopedRouteConfiguration) { host(s).Domains = []string{"*.gw.test"} },
		`domain "GW.test"`:                   func(s *routev3.ScopedRouteConfiguration) { host(s).Domains = []string{"gw.test", "GW.test"} },
		"no CORS policy":                     func(s *routev3.ScopedRouteConfiguration) { host(s).TypedPerFilterConfig = nil },
		"last route is not the dead end":     func(s *routev3.ScopedRouteConfiguration) { host(s).Routes = host(s).Routes[:2] },
		"generation and rev":                 route(dead, func(r *routev3.Route) { r.Metadata = nil }),
		"is not the dead end": route(dead, func(r *routev3.Route) {
			r.GetRoute().ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: "s-weather@3"}
		}),
		"not an ordinary route": route(dead, func(r *routev3.Route) {
			r.Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 503}}
		}),
		"not the exact path": route(plain, func(r *routev3.Route) { r.Match.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: "/weather/mcp"} }),
		"configures envoy.filters.http.ext_authz": route(plain, func(r *routev3.Route) {
			r.TypedPerFilterConfig = map[string]*anypb.Any{"envoy.filters.http.ext_authz": must(anypb.New(&extauthzv3.ExtAuthzPerRoute{Override: &extauthzv3.ExtAuthzPerRoute_Disabled{Disabled: true}}))}
		}),
		"decision \"plain:weather@3\"":   route(plain, func(r *routev3.Route) { r.Match.DynamicMetadata = nil }),
		"decision \"inspect:weather@3\"": route(inspect, func(r *routev3.Route) { r.Match.DynamicMetadata[0].Invert = true }),
		"decision \"plain:weather@4\"": route(plain, func(r *routev3.Route) {
			r.GetRoute().ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: "s-weather@4"}
		}),
		"leads to cluster \"s-other@3\"": route(plain, func(r *routev3.Route) {
			r.GetRoute().ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: "s-other@3"}
		}),
		"lets a session id pass":      route(plain, func(r *routev3.Route) { r.ResponseHeadersToRemove = nil }),
		"has no reply filter":         route(inspect, func(r *routev3.Route) { r.TypedPerFilterConfig = nil }),
		"public path or host":         route(plain, func(r *routev3.Route) { r.GetRoute().PrefixRewrite = "" }),
		"default timeout":             route(plain, func(r *routev3.Route) { r.GetRoute().Timeout = nil }),
		"rewrite that is not literal": route(plain, func(r *routev3.Route) { r.GetRoute().PathRewrite = "/%REQ(x)%" }),
		"regular expression": route(plain, func(r *routev3.Route) {
			r.GetRoute().RegexRewrite = &matcherv3.RegexMatchAndSubstitute{Pattern: &matcherv3.RegexMatcher{Regex: "["}}
		}),
		"percent sign": route(plain, func(r *routev3.Route) {
			r.ResponseHeadersToAdd = []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: "x", Value: "50%"}}}
		}),
		"adds request headers": route(plain, func(r *routev3.Route) {
			r.RequestHeadersToAdd = []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: "authorization", Value: "x"}}}
		}),
		"leads to cluster": func(s *routev3.ScopedRouteConfiguration) { s.Name = "healthz" },
	})
}

func TestValidateRefusesAListener(t *testing.T) {
	t.Parallel()
	manager := func(change func(*hcmv3.HttpConnectionManager)) func(*listenerv3.Listener) {
		return func(l *listenerv3.Listener) {
			repack(l.GetFilterChains()[0].GetFilters()[0].GetTypedConfig(), &hcmv3.HttpConnectionManager{}, change)
		}
	}
	authz := func(change func(*extauthzv3.ExtAuthz)) func(*listenerv3.Listener) {
		return manager(func(m *hcmv3.HttpConnectionManager) {
			repack(m.GetHttpFilters()[3].GetTypedConfig(), &extauthzv3.ExtAuthz{}, change)
		})
	}
	proc := func(change func(*extprocv3.ExternalProcessor)) func(*listenerv3.Listener) {
		return manager(func(m *hcmv3.HttpConnectionManager) {
			repack(m.GetHttpFilters()[4].GetTypedConfig(), &extprocv3.ExternalProcessor{}, change)
		})
	}
	refused(t, func() *listenerv3.Listener { return must(xds.Listener(testConfig)) }, map[string]func(*listenerv3.Listener){
		"is not literal":             func(l *listenerv3.Listener) { l.GetAddress().GetSocketAddress().Address = "localhost" },
		"not one filter chain":       func(l *listenerv3.Listener) { l.FilterChains = nil },
		"paths are not normalised":   manager(func(m *hcmv3.HttpConnectionManager) { m.NormalizePath = nil }),
		"client headers are trusted": manager(func(m *hcmv3.HttpConnectionManager) { m.UseRemoteAddress = wrapperspb.Bool(false) }),
		"upgrade": manager(func(m *hcmv3.HttpConnectionManager) {
			m.UpgradeConfigs = []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}}
		}),
		"timeout is missing": manager(func(m *hcmv3.HttpConnectionManager) { m.RequestTimeout = nil }),
		"open without routes": manager(func(m *hcmv3.HttpConnectionManager) {
			m.GetScopedRoutes().GetScopedRds().GetScopedRdsConfigSource().InitialFetchTimeout = nil
		}),
		"may be missing": manager(func(m *hcmv3.HttpConnectionManager) { m.GetHttpFilters()[3].Disabled = true }),
		"filters are": manager(func(m *hcmv3.HttpConnectionManager) {
			m.HttpFilters[2], m.HttpFilters[3] = m.HttpFilters[3], m.HttpFilters[2]
		}),
		"ext_authz does not fail closed": authz(func(a *extauthzv3.ExtAuthz) { a.FailureModeAllow = true }),
		"a part of a body":               authz(func(a *extauthzv3.ExtAuthz) { a.WithRequestBody.MaxRequestBytes = 1 << 20 }),
		"no timeout":                     authz(func(a *extauthzv3.ExtAuthz) { a.GetGrpcService().Timeout = nil }),
		"what the decision needs":        authz(func(a *extauthzv3.ExtAuthz) { a.EncodeRawHeaders = false }),
		"change the path or host":        authz(func(a *extauthzv3.ExtAuthz) { a.DecoderHeaderMutationRules = nil }),
		"cannot bound a reply":           authz(func(a *extauthzv3.ExtAuthz) { a.DecoderHeaderMutationRules.AllowExpression = nil }),
		"set other headers": authz(func(a *extauthzv3.ExtAuthz) {
			a.DecoderHeaderMutationRules.AllowExpression.Regex = "x-envoy-upstream-rq-timeout-ms"
		}),
		"ext_proc does not fail closed": proc(func(p *extprocv3.ExternalProcessor) { p.FailureModeAllow = true }),
		"the route or any header":       proc(func(p *extprocv3.ExternalProcessor) { p.MutationRules = nil }),
		// Inside two Anys, where the API's own check does not reach.
		"MessageTimeout": proc(func(p *extprocv3.ExternalProcessor) { p.MessageTimeout = durationpb.New(-1) }),
	})
}

func TestValidateRefusesASecretWithoutShowingIt(t *testing.T) {
	t.Parallel()
	refused(t, func() *tlsv3.Secret { return xds.Secret([]byte("PUBLIC"), []byte("PRIVATE")) }, map[string]func(*tlsv3.Secret){
		"is missing": func(s *tlsv3.Secret) { s.Name = "" },
		"or key is missing": func(s *tlsv3.Secret) {
			s.GetTlsCertificate().PrivateKey = nil
		},
	})
	err := xds.Validate(xds.Secret(nil, []byte("PRIVATE")))
	if err == nil || strings.Contains(err.Error(), "PRIVATE") {
		t.Errorf("Validate: %v", err)
	}
}

func TestValidateSeesUnknownFieldsInsideAnAny(t *testing.T) {
	t.Parallel()
	s := must(xds.ServerScope([]*registry.Server{server("weather", 3, "http://127.0.0.1:9003")}, 1, testConfig))
	a := s.GetRouteConfiguration().GetVirtualHosts()[0].GetTypedPerFilterConfig()["envoy.filters.http.cors"]
	a.Value = append(a.Value, 0xfa, 0xff, 0x01, 0x00)
	if err := xds.Validate(s); err == nil || !strings.Contains(err.Error(), "unknown fields") {
		t.Errorf("Validate: %v", err)
	}
}

func TestValidateDemandsTheFixedScopesLeadToTheProgram(t *testing.T) {
	t.Parallel()
	for i := range 2 {
		refused(t, func() *routev3.ScopedRouteConfiguration { return must(xds.FixedScopes(1, testConfig))[i] }, map[string]func(*routev3.ScopedRouteConfiguration){
			`leads to cluster "s-weather@3"`: func(s *routev3.ScopedRouteConfiguration) {
				routes := s.GetRouteConfiguration().GetVirtualHosts()[0].GetRoutes()
				routes[len(routes)-1].GetRoute().ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: "s-weather@3"}
			},
		})
	}
	scopes := must(xds.FixedScopes(1, testConfig))
	if n := len(scopes); scopes[n-1].GetName() != xds.ScopeHealthz {
		t.Errorf("the last fixed scope is %s", scopes[n-1].GetName())
	}
}
