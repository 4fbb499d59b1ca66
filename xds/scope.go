package xds

import (
	"errors"
	"fmt"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mcpgate/mcpgate/registry"
)

// minDeadEndIdle leaves the authorization service its time.
const minDeadEndIdle = time.Second

// maxGeneration is the last integer that a number in route metadata holds
// exactly.
const maxGeneration = 1 << 53

// ServerScope is the scoped routes of one server. Versions are the generations
// whose routes stand side by side, oldest first; the newest is last, and the
// dead end names it. Rev must differ from that of every earlier message for
// the server: it is what makes Envoy apply a scope again that it lost.
func ServerScope(versions []*registry.Server, rev uint64, cfg Config) (*routev3.ScopedRouteConfiguration, error) {
	if len(versions) == 0 {
		return nil, errors.New("server scope: no version")
	}
	newest := versions[len(versions)-1]
	name := newest.Name
	if err := checkName(name); err != nil {
		return nil, err
	}
	if !newest.IsEnabled() {
		return nil, fmt.Errorf("server %s: disabled, so it has no scope", name)
	}
	if rev > maxGeneration {
		return nil, fmt.Errorf("server %s: rev %d is too large", name, rev)
	}

	routes := make([]*routev3.Route, 0, 2*len(versions)+1)
	var last int64
	for i, v := range versions {
		g := v.Metadata.Generation
		switch {
		case v.Name != name:
			return nil, fmt.Errorf("server %s: a version is of server %s", name, v.Name)
		case g <= last && i > 0, g < 0, g > maxGeneration:
			return nil, fmt.Errorf("server %s: generation %d is out of order or range", name, g)
		}
		last = g
		pair, err := generationRoutes(v)
		if err != nil {
			return nil, fmt.Errorf("server %s: %w", name, err)
		}
		routes = append(routes, pair...)
	}
	routes = append(routes, deadEnd(name, newest, rev))

	hosts, err := cfg.hosts()
	if err != nil {
		return nil, err
	}
	policy, err := corsPolicy(cfg)
	if err != nil {
		return nil, err
	}
	return scope(name, &routev3.VirtualHost{
		Name:    name,
		Domains: hosts,
		Routes:  routes,
		// Before the cors filter writes its own. What else an upstream must not
		// say is removed by the listener, at no cost for each server.
		ResponseHeadersToRemove: []string{"access-control-allow-origin"},
		TypedPerFilterConfig:    map[string]*anypb.Any{filterCORS: policy},
	}), nil
}

// scope wraps one virtual host. Cluster names are not validated by Envoy: a
// scope that arrives before its cluster would be refused and would take its
// neighbours with it, where now it answers 503 until the cluster is there.
func scope(key string, host *routev3.VirtualHost) *routev3.ScopedRouteConfiguration {
	return &routev3.ScopedRouteConfiguration{
		Name: key,
		Key: &routev3.ScopedRouteConfiguration_Key{Fragments: []*routev3.ScopedRouteConfiguration_Key_Fragment{{
			Type: &routev3.ScopedRouteConfiguration_Key_Fragment_StringKey{StringKey: key},
		}}},
		RouteConfiguration: &routev3.RouteConfiguration{
			Name:             key,
			ValidateClusters: wrapperspb.Bool(false),
			VirtualHosts:     []*routev3.VirtualHost{host},
		},
	}
}

// generationRoutes are the two ways to one generation of an upstream.
func generationRoutes(v *registry.Server) ([]*routev3.Route, error) {
	t, err := parseTarget(v.Upstream.URL)
	if err != nil {
		return nil, err
	}
	filtered, err := pack(&extprocv3.ExtProcPerRoute{Override: &extprocv3.ExtProcPerRoute_Overrides{Overrides: &extprocv3.ExtProcOverrides{
		ProcessingMode: &extprocv3.ProcessingMode{
			RequestHeaderMode:   extprocv3.ProcessingMode_SKIP,
			ResponseHeaderMode:  extprocv3.ProcessingMode_SEND,
			RequestBodyMode:     extprocv3.ProcessingMode_NONE,
			ResponseBodyMode:    extprocv3.ProcessingMode_FULL_DUPLEX_STREAMED,
			RequestTrailerMode:  extprocv3.ProcessingMode_SKIP,
			ResponseTrailerMode: extprocv3.ProcessingMode_SEND,
		},
	}}})
	if err != nil {
		return nil, err
	}

	inspect := upstreamRoute(v, t, RouteInspect)
	inspect.TypedPerFilterConfig = map[string]*anypb.Any{filterExtProc: filtered}
	plain := upstreamRoute(v, t, RoutePlain)
	// A session id reaches the client only through the reply filter, which
	// binds it to its owner.
	plain.ResponseHeadersToRemove = []string{"mcp-session-id"}
	if v.Upstream.ForwardClientToken {
		inspect.Name, plain.Name = RouteInspectForward, RoutePlainForward
	} else {
		// A challenge of the upstream's is about the operator's credential.
		plain.ResponseHeadersToRemove = append(plain.ResponseHeadersToRemove, "www-authenticate")
		inspect.ResponseHeadersToRemove = []string{"www-authenticate"}
	}
	return []*routev3.Route{inspect, plain}, nil
}

// upstreamRoute matches only what the authorization service decided for this
// server, this generation and this kind of route.
func upstreamRoute(v *registry.Server, t target, kind string) *routev3.Route {
	g := v.Metadata.Generation
	return &routev3.Route{
		Name: kind,
		Match: &routev3.RouteMatch{
			PathSpecifier: &routev3.RouteMatch_Path{Path: Path(v.Name)},
			DynamicMetadata: []*matcherv3.MetadataMatcher{{
				Filter: AuthzNamespace,
				Path:   []*matcherv3.MetadataMatcher_PathSegment{{Segment: &matcherv3.MetadataMatcher_PathSegment_Key{Key: "route"}}},
				Value: &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
					MatchPattern: &matcherv3.StringMatcher_Exact{Exact: kind + ":" + RouteKey(v.Name, g)},
				}}},
			}},
		},
		Metadata: routeMetadata(v.Name, g, nil),
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: ClusterName(v.Name, g)},
			// With an exact path match this replaces the whole path, and it is
			// literal; path_rewrite would be a formatter.
			PrefixRewrite:        t.path,
			HostRewriteSpecifier: &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: t.authority},
			Timeout:              duration(0),
			IdleTimeout:          duration(v.Upstream.IdleTimeout.Or(registry.DefaultIdleTimeout)),
			MaxStreamDuration:    &routev3.RouteAction_MaxStreamDuration{MaxStreamDuration: duration(MaxStreamDuration)},
		}},
	}
}

// deadEnd is the route of a request that nothing was decided about. It is an
// ordinary route, since the cors filter sleeps on a direct response, and its
// cluster is the bootstrap's, since one that does not exist fails open.
//
// Its idle timeout is the server's: Envoy's timer is set when the request
// arrives, and the route that a decision selects changes it only with the next
// byte, which a GET that the upstream never answers does not have.
func deadEnd(name string, newest *registry.Server, rev uint64) *routev3.Route {
	return &routev3.Route{
		Name:     RouteNoDecision,
		Match:    &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Path{Path: Path(name)}},
		Metadata: routeMetadata(name, newest.Metadata.Generation, &rev),
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: ClusterNoDecision},
			Timeout:          duration(0),
			IdleTimeout:      duration(max(newest.Upstream.IdleTimeout.Or(registry.DefaultIdleTimeout), minDeadEndIdle)),
		}},
	}
}

// routeMetadata is what the authorization service and the access log see.
func routeMetadata(server string, generation int64, rev *uint64) *corev3.Metadata {
	fields := map[string]*structpb.Value{
		"server":     structpb.NewStringValue(server),
		"generation": structpb.NewNumberValue(float64(generation)),
	}
	if rev != nil {
		fields["rev"] = structpb.NewNumberValue(float64(*rev))
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{MetadataNamespace: {Fields: fields}}}
}
