package xds

import (
	"net/http"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// WellKnownPath starts the paths of the metadata documents (RFC 8615, RFC 9728
// section 3). All of them lead to the program: none is ever a 401, at which
// clients would give up.
const WellKnownPath = "/.well-known/"

// webTimeout bounds one answer of the program's own HTTP service.
const webTimeout = 5 * time.Second

// FixedScopes are the scoped routes beside the servers': ".well-known", then
// "healthz". They lead to the program's own HTTP service without asking
// ext_authz. Healthz comes last because it must be sent last: whoever gets an
// answer from it gets one from every server.
func FixedScopes(rev uint64, cfg Config) ([]*routev3.ScopedRouteConfiguration, error) {
	hosts, err := cfg.hosts()
	if err != nil {
		return nil, err
	}
	open, err := pack(&extauthzv3.ExtAuthzPerRoute{Override: &extauthzv3.ExtAuthzPerRoute_Disabled{Disabled: true}})
	if err != nil {
		return nil, err
	}
	fixed := func(key string, match *routev3.RouteMatch) *routev3.ScopedRouteConfiguration {
		md := routeMetadata(key, 0, &rev)
		// No server: nothing may be decided about these routes.
		delete(md.FilterMetadata[MetadataNamespace].Fields, "server")
		delete(md.FilterMetadata[MetadataNamespace].Fields, "generation")
		return scope(key, &routev3.VirtualHost{
			Name:    key,
			Domains: hosts,
			Routes: []*routev3.Route{{
				Name:     RouteWeb,
				Match:    match,
				Metadata: md,
				Action: &routev3.Route_Route{Route: &routev3.RouteAction{
					ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: ClusterWeb},
					Timeout:          duration(webTimeout),
				}},
				TypedPerFilterConfig: map[string]*anypb.Any{filterExtAuthz: open},
			}},
		})
	}

	wellKnown := fixed(ScopeWellKnown, metadataMatch())
	// Any page may read the metadata; it is public.
	anyOrigin := header("access-control-allow-origin", "*", corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
	host := wellKnown.RouteConfiguration.VirtualHosts[0]
	host.Routes[0].ResponseHeadersToAdd = []*corev3.HeaderValueOption{anyOrigin}
	host.Routes = append([]*routev3.Route{preflight(anyOrigin, open)}, host.Routes...)
	healthz := fixed(ScopeHealthz, &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Path{Path: "/" + ScopeHealthz}})
	return []*routev3.ScopedRouteConfiguration{wellKnown, healthz}, nil
}

// metadataMatch is every path under /.well-known.
func metadataMatch() *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: WellKnownPath}}
}

// preflight answers a page that asks whether it may send MCP-Protocol-Version
// with its request for the metadata. The cors filter would name the origin
// where "*" is wanted.
func preflight(anyOrigin *corev3.HeaderValueOption, open *anypb.Any) *routev3.Route {
	match := metadataMatch()
	match.Headers = []*routev3.HeaderMatcher{{
		Name: ":method",
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Exact{Exact: "OPTIONS"},
		}},
	}}
	const set = corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
	return &routev3.Route{
		Name:   RoutePreflight,
		Match:  match,
		Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: http.StatusNoContent}},
		ResponseHeadersToAdd: []*corev3.HeaderValueOption{
			anyOrigin,
			header("access-control-allow-methods", "GET, HEAD, OPTIONS", set),
			header("access-control-allow-headers", "authorization, content-type, accept, mcp-protocol-version, *", set),
			header("access-control-max-age", "600", set),
		},
		TypedPerFilterConfig: map[string]*anypb.Any{filterExtAuthz: open},
	}
}

// header is one header to add. Value is a formatter: it must have no percent
// sign that is not meant.
func header(key, value string, action corev3.HeaderValueOption_HeaderAppendAction) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: key, Value: value},
		AppendAction: action,
	}
}
