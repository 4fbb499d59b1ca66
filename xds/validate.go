package xds

import (
	"errors"
	"fmt"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
)

// Validate reports why Envoy would refuse m, or why Envoy must not get it
// although it would take it. It applies the constraints of Envoy's API to m
// and all it carries, and to a Cluster, ScopedRouteConfiguration, Listener or
// Secret the gateway's own rules: those keep one bad resource from being
// refused together with its neighbours, and every resource failing closed.
func Validate(m proto.Message) error {
	errs := []error{validateFields(m.ProtoReflect(), 0)}
	var name string
	switch m := m.(type) {
	case *clusterv3.Cluster:
		name = "cluster " + m.GetName()
		errs = append(errs, validateCluster(m)...)
	case *routev3.ScopedRouteConfiguration:
		name = "scope " + m.GetName()
		errs = append(errs, validateScope(m)...)
	case *listenerv3.Listener:
		name = "listener " + m.GetName()
		errs = append(errs, validateListener(m)...)
	case *tlsv3.Secret:
		name = "secret " + m.GetName()
		errs = append(errs, validateSecret(m)...)
	default:
		name = string(m.ProtoReflect().Descriptor().Name())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// validateSecret never shows what the secret holds.
func validateSecret(s *tlsv3.Secret) []error {
	c := s.GetTlsCertificate()
	if s.GetName() == "" || len(c.GetCertificateChain().GetInlineBytes()) == 0 || len(c.GetPrivateKey().GetInlineBytes()) == 0 {
		return []error{errors.New("name, certificate or key is missing")}
	}
	return nil
}
