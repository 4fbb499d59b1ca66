package xds

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// validateScope knows the scopes of servers and the fixed ones.
func validateScope(s *routev3.ScopedRouteConfiguration) []error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	name, rc := s.GetName(), s.GetRouteConfiguration()
	if f := s.GetKey().GetFragments(); len(f) != 1 || f[0].GetStringKey() != name || rc.GetName() != name {
		fail("name, key and route configuration differ")
	}
	if rc.GetValidateClusters() == nil || rc.GetValidateClusters().GetValue() {
		fail("validate_clusters is not false, so it could be refused for its cluster")
	}
	if len(rc.GetVirtualHosts()) != 1 {
		return append(errs, fmt.Errorf("%d virtual hosts, not one", len(rc.GetVirtualHosts())))
	}
	host := rc.GetVirtualHosts()[0]
	seen := map[string]bool{}
	for _, d := range host.GetDomains() {
		if checkHost(d) != nil || seen[strings.ToLower(d)] {
			fail("domain %q is not one exact name, or is there twice", d)
		}
		seen[strings.ToLower(d)] = true
	}
	if len(host.GetRoutes()) == 0 {
		return append(errs, errors.New("no route"))
	}
	fixed := name == ScopeWellKnown || name == ScopeHealthz
	for _, r := range host.GetRoutes() {
		var err error
		if fixed {
			err = validateFixedRoute(r)
		} else {
			err = validateServerRoute(name, r)
		}
		if err == nil {
			err = validateTexts(r)
		}
		if err != nil {
			fail("route %s: %w", r.GetName(), err)
		}
	}
	if fixed {
		return errs
	}
	if err := checkName(name); err != nil {
		errs = append(errs, err)
	}
	last := host.GetRoutes()[len(host.GetRoutes())-1]
	md := last.GetMetadata().GetFilterMetadata()[MetadataNamespace].GetFields()
	switch {
	case last.GetName() != RouteNoDecision:
		fail("the last route is not the dead end")
	case md["server"].GetStringValue() != name || md["generation"] == nil || md["rev"] == nil:
		fail("the dead end's metadata does not name server, generation and rev")
	}
	if host.GetTypedPerFilterConfig()[filterCORS] == nil {
		fail("no CORS policy")
	}
	return errs
}

// validateServerRoute refuses every way to an upstream but by a decision for
// it.
func validateServerRoute(name string, r *routev3.Route) error {
	if r.GetMatch().GetPath() != Path(name) {
		return errors.New("the match is not the exact path of the server")
	}
	if r.GetRoute() == nil {
		return errors.New("not an ordinary route, on which the cors filter would sleep")
	}
	action := r.GetRoute()
	for filter := range r.GetTypedPerFilterConfig() {
		// Above all not ext_authz: it must not be disabled here.
		if filter != filterExtProc {
			return fmt.Errorf("configures %s", filter)
		}
	}
	if r.GetName() == RouteNoDecision {
		if action.GetCluster() != ClusterNoDecision || len(r.GetTypedPerFilterConfig()) > 0 {
			return errors.New("is not the dead end")
		}
		return nil
	}

	kind := strings.TrimSuffix(r.GetName(), "-forward")
	server, generation, ok := strings.Cut(strings.TrimPrefix(action.GetCluster(), ClusterPrefix), "@")
	if !ok || server != name {
		return fmt.Errorf("leads to cluster %q", action.GetCluster())
	}
	m := r.GetMatch().GetDynamicMetadata()
	want := kind + ":" + name + "@" + generation
	if len(m) != 1 || m[0].GetFilter() != AuthzNamespace || m[0].GetInvert() || len(m[0].GetPath()) != 1 || m[0].GetPath()[0].GetKey() != "route" ||
		exact(m[0].GetValue()) != want {
		return fmt.Errorf("does not demand the decision %q", want)
	}
	switch kind {
	case RoutePlain:
		if !slices.Contains(r.GetResponseHeadersToRemove(), "mcp-session-id") {
			return errors.New("lets a session id pass that is not bound to its owner")
		}
	case RouteInspect:
		if r.GetTypedPerFilterConfig()[filterExtProc] == nil {
			return errors.New("has no reply filter")
		}
	default:
		return errors.New("unknown kind")
	}
	if action.GetPrefixRewrite() == "" || action.GetHostRewriteLiteral() == "" {
		return errors.New("shows the upstream the public path or host")
	}
	if action.GetTimeout() == nil || action.GetTimeout().AsDuration() != 0 || action.GetMaxStreamDuration().GetMaxStreamDuration().AsDuration() <= 0 {
		return errors.New("streams are cut by the default timeout, or have no bound")
	}
	return nil
}

// exact is the value that an exact string match wants, or "".
func exact(v *matcherv3.ValueMatcher) string {
	if v.GetStringMatch().GetIgnoreCase() {
		return ""
	}
	return v.GetStringMatch().GetExact()
}

// validateFixedRoute keeps what ext_authz does not see away from servers.
func validateFixedRoute(r *routev3.Route) error {
	if c := r.GetRoute().GetCluster(); c != ClusterWeb && r.GetDirectResponse() == nil {
		return fmt.Errorf("leads to cluster %q", c)
	}
	return nil
}

// validateTexts refuses fields that are formatters where text from the
// registry could stand, and regular expressions: Envoy finds an error in
// either only when it applies the scope, and then loses the scopes beside it.
func validateTexts(r *routev3.Route) error {
	a, m := r.GetRoute(), r.GetMatch()
	_, literal := a.GetHostRewriteSpecifier().(*routev3.RouteAction_HostRewriteLiteral)
	switch {
	case m.GetSafeRegex() != nil || a.GetRegexRewrite() != nil:
		return errors.New("has a regular expression")
	case a.GetPathRewrite() != "" || a.GetPathRewritePolicy() != nil || (a.GetHostRewriteSpecifier() != nil && !literal):
		return errors.New("has a rewrite that is not literal")
	}
	for _, h := range r.GetResponseHeadersToAdd() {
		if hasFormatter(h.GetHeader().GetValue()) {
			return fmt.Errorf("header %s: the value has a percent sign", h.GetHeader().GetKey())
		}
	}
	if len(r.GetRequestHeadersToAdd()) > 0 {
		// It would overwrite the credential that the decision set.
		return errors.New("adds request headers")
	}
	return nil
}
