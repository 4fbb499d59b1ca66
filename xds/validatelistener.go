package xds

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	bufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/buffer/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
)

// filterOrder is the order in which a request passes the filters.
var filterOrder = []string{filterCORS, filterHeaderMutation, filterBuffer, filterExtAuthz, filterExtProc, filterCustomResponse, filterRouter}

// validateListener knows the gateway's listener.
func validateListener(l *listenerv3.Listener) []error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if a := l.GetAddress().GetSocketAddress(); a == nil {
		fail("no socket address")
	} else if _, err := netip.ParseAddr(a.GetAddress()); err != nil {
		fail("address %q is not literal", a.GetAddress())
	}
	if len(l.GetFilterChains()) != 1 || len(l.GetFilterChains()[0].GetFilters()) != 1 {
		return append(errs, errors.New("not one filter chain with one filter"))
	}
	var m hcmv3.HttpConnectionManager
	if err := l.GetFilterChains()[0].GetFilters()[0].GetTypedConfig().UnmarshalTo(&m); err != nil {
		return append(errs, err)
	}

	// Scope, route, authorization service and upstream must read one path.
	if !m.GetNormalizePath().GetValue() || !m.GetMergeSlashes() || m.GetPathWithEscapedSlashesAction() != hcmv3.HttpConnectionManager_REJECT_REQUEST {
		fail("paths are not normalised")
	}
	if !m.GetUseRemoteAddress().GetValue() || !m.GetStripAnyHostPort() || m.GetForwardClientCertDetails() != hcmv3.HttpConnectionManager_SANITIZE {
		fail("client headers are trusted")
	}
	if len(m.GetUpgradeConfigs()) > 0 {
		fail("an upgrade would pass without its body being judged")
	}
	if m.GetRequestTimeout().AsDuration() <= 0 || m.GetRequestHeadersTimeout().AsDuration() <= 0 || m.GetStreamIdleTimeout().AsDuration() <= 0 {
		fail("a timeout is missing")
	}
	if source := m.GetScopedRoutes().GetScopedRds().GetScopedRdsConfigSource(); source.GetInitialFetchTimeout() == nil || source.GetInitialFetchTimeout().AsDuration() != 0 {
		fail("would open without routes when there is no control plane")
	}
	return append(errs, validateFilters(m.GetHttpFilters())...)
}

// validateFilters checks order, limits and that every filter fails closed.
func validateFilters(filters []*hcmv3.HttpFilter) []error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	var names []string
	for _, f := range filters {
		names = append(names, f.GetName())
		if f.GetDisabled() || f.GetIsOptional() {
			fail("filter %s may be missing", f.GetName())
		}
	}
	if !slices.Equal(names, filterOrder) {
		return append(errs, fmt.Errorf("filters are %v, not %v", names, filterOrder))
	}
	var buffer bufferv3.Buffer
	var authz extauthzv3.ExtAuthz
	var proc extprocv3.ExternalProcessor
	for i, m := range map[int]proto.Message{2: &buffer, 3: &authz, 4: &proc} {
		if err := filters[i].GetTypedConfig().UnmarshalTo(m); err != nil {
			return append(errs, err)
		}
	}
	if authz.GetFailureModeAllow() || authz.GetFilterEnabled() != nil || authz.GetFilterEnabledMetadata() != nil || authz.GetShadowMode() {
		fail("ext_authz does not fail closed")
	}
	if authz.GetWithRequestBody().GetAllowPartialMessage() || authz.GetWithRequestBody().GetMaxRequestBytes() < buffer.GetMaxRequestBytes().GetValue()+authzBodySlack {
		fail("ext_authz could see a part of a body")
	}
	if authz.GetGrpcService().GetTimeout().AsDuration() <= 0 || authz.GetGrpcService().GetEnvoyGrpc().GetClusterName() != ClusterAuthz {
		fail("ext_authz has no timeout or another cluster")
	}
	if !authz.GetEncodeRawHeaders() || !authz.GetValidateMutations() || !authz.GetClearRouteCache() || !slices.Equal(authz.GetRouteMetadataContextNamespaces(), []string{MetadataNamespace}) {
		fail("ext_authz does not see or do what the decision needs")
	}
	if r := authz.GetDecoderHeaderMutationRules(); !r.GetDisallowSystem().GetValue() || !r.GetDisallowIsError().GetValue() {
		fail("ext_authz may change the path or host")
	} else if r.GetAllowExpression().GetRegex() != timeoutHeader {
		fail("ext_authz may set other headers than its own, or cannot bound a reply")
	}
	if proc.GetFailureModeAllow() || proc.GetAllowModeOverride() || proc.GetObservabilityMode() || proc.GetGrpcService().GetEnvoyGrpc().GetClusterName() != ClusterProc {
		fail("ext_proc does not fail closed")
	}
	if !proc.GetDisableClearRouteCache() || !proc.GetMutationRules().GetDisallowAll().GetValue() {
		fail("ext_proc may change the route or any header")
	}
	return errs
}
