package ads

// kind is one of the resource types served, in the order in which one flush
// sends their additions.
type kind int

const (
	clusters kind = iota
	secrets
	listeners
	scopes
	kinds // how many there are
)

const typePrefix = "type.googleapis.com/"

// typeURL is the type as it stands in requests and responses.
func (k kind) typeURL() string {
	switch k {
	case clusters:
		return typePrefix + "envoy.config.cluster.v3.Cluster"
	case secrets:
		return typePrefix + "envoy.extensions.transport_sockets.tls.v3.Secret"
	case listeners:
		return typePrefix + "envoy.config.listener.v3.Listener"
	case scopes:
		return typePrefix + "envoy.config.route.v3.ScopedRouteConfiguration"
	case kinds:
	}
	return ""
}

// String is the name shown to operators.
func (k kind) String() string {
	switch k {
	case clusters:
		return "Cluster"
	case secrets:
		return "Secret"
	case listeners:
		return "Listener"
	case scopes:
		return "ScopedRouteConfiguration"
	case kinds:
	}
	return "unknown"
}

// kindOf is the kind with the type URL.
func kindOf(url string) (kind, bool) {
	for k := range kinds {
		if k.typeURL() == url {
			return k, true
		}
	}
	return kinds, false
}
