package xds

import (
	"fmt"
	"strconv"
	"strings"
)

// Clusters of the program itself. They are static in the bootstrap: their
// content never changes, and CDS cannot replace a static cluster.
const (
	// ClusterXDS is the aggregated discovery service.
	ClusterXDS = "xds"
	// ClusterAuthz answers ext_authz.
	ClusterAuthz = "authz"
	// ClusterProc answers ext_proc; it differs from ClusterAuthz in its
	// keepalive only.
	ClusterProc = "proc"
	// ClusterWeb is the program's own HTTP service.
	ClusterWeb = "web"
	// ClusterNoDecision has no endpoints: the dead end of every server.
	ClusterNoDecision = "no-decision"
)

// ClusterPrefix starts the name of every server's cluster; the bootstrap
// excludes it from the statistics, which would otherwise cost more memory than
// the servers themselves.
const ClusterPrefix = "s-"

// MetadataNamespace is the namespace of the route metadata that the
// authorization service reads: "server", "generation" and, on the dead end,
// "rev".
const MetadataNamespace = "mcpgate"

// AuthzNamespace is the namespace of the dynamic metadata that ext_authz
// writes; routes match on its key "route".
const AuthzNamespace = filterExtAuthz

// Names of the routes of a server. The -forward forms belong to servers that
// get the client's own token and whose own 401 and 403 therefore are the
// client's matter.
const (
	RouteInspect        = "inspect"
	RoutePlain          = "plain"
	RouteInspectForward = "inspect-forward"
	RoutePlainForward   = "plain-forward"
	RouteNoDecision     = "no-decision"
	// RouteWeb is the route of the fixed scopes, RoutePreflight that of a
	// browser's question before it reads the metadata.
	RouteWeb       = "web"
	RoutePreflight = "preflight"
)

// Names of the fixed scopes.
const (
	ScopeWellKnown = ".well-known"
	ScopeHealthz   = "healthz"
)

// ListenerName and SecretName name the gateway's listener and, with TLS, its
// certificate.
const (
	ListenerName = "mcp"
	SecretName   = "gateway"
)

// Filters of the gateway, by the names under which routes configure them.
const (
	filterCORS           = "envoy.filters.http.cors"
	filterHeaderMutation = "envoy.filters.http.header_mutation"
	filterBuffer         = "envoy.filters.http.buffer"
	filterExtAuthz       = "envoy.filters.http.ext_authz"
	filterExtProc        = "envoy.filters.http.ext_proc"
	filterCustomResponse = "envoy.filters.http.custom_response"
	filterRouter         = "envoy.filters.http.router"
	filterHCM            = "envoy.filters.network.http_connection_manager"
	socketTLS            = "envoy.transport_sockets.tls"
	httpProtocolOptions  = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
)

// ClusterName is the cluster of one generation of a server's upstream:
// s-<name>@<generation>. It is injective, since a server's name has no "@".
func ClusterName(name string, generation int64) string {
	return ClusterPrefix + RouteKey(name, generation)
}

// RouteKey is <name>@<generation>, the part of the "route" metadata that says
// which upstream a decision is for.
func RouteKey(name string, generation int64) string {
	return name + "@" + strconv.FormatInt(generation, 10)
}

// Path is the public path of a server.
func Path(name string) string { return "/" + name + "/mcp" }

// checkName refuses a server name that could be read as anything but one whole
// path segment, or that a fixed scope has. The registry refuses it before; a
// scope's key is too important to rely on that.
func checkName(name string) error {
	if len(name) == 0 || len(name) > 63 {
		return fmt.Errorf("server name %q: length is not 1 to 63", name)
	}
	for i := range len(name) {
		c := name[i]
		inner := i > 0 && i < len(name)-1
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && (c != '-' || !inner) {
			return fmt.Errorf("server name %q: not a name", name)
		}
	}
	if name == ScopeHealthz {
		return fmt.Errorf("server name %q: reserved", name)
	}
	return nil
}

// hasFormatter reports whether s would be read as more than itself in a field
// that is a formatter.
func hasFormatter(s string) bool { return strings.ContainsRune(s, '%') }
