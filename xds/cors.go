package xds

import (
	"strings"

	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// exposedHeaders are the response headers a page may read.
const exposedHeaders = "WWW-Authenticate, Mcp-Session-Id, Retry-After"

// allowedHeaders are the request headers a page may send, as a preflight that
// asks for none sees them; one that asks gets what it asked for, since the
// Mcp-Param-* headers have the tools' own names (see headerMutations).
const allowedHeaders = "authorization, content-type, accept, mcp-protocol-version, mcp-method, mcp-name, mcp-session-id, last-event-id"

// corsPolicy lets the allowed origins read every answer. It does not keep
// others from sending requests; the authorization service does.
func corsPolicy(cfg Config) (*anypb.Any, error) {
	origins, err := cfg.origins()
	if err != nil {
		return nil, err
	}
	return pack(&corsv3.CorsPolicy{
		AllowOriginStringMatch:       originMatchers(origins),
		AllowMethods:                 "GET, POST, DELETE, OPTIONS",
		AllowHeaders:                 allowedHeaders,
		ExposeHeaders:                exposedHeaders,
		MaxAge:                       "600",
		ForwardNotMatchingPreflights: wrapperspb.Bool(false),
	})
}

// originMatchers turn "http://localhost:*" into the origin without port and a
// prefix; a browser's Origin has nothing but a port after the colon.
func originMatchers(origins []string) []*matcherv3.StringMatcher {
	var out []*matcherv3.StringMatcher
	for _, o := range origins {
		base, anyPort := strings.CutSuffix(o, ":*")
		out = append(out, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: base}})
		if anyPort {
			out = append(out, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: base + ":"}})
		}
	}
	return out
}
