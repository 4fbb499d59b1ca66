package ads

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/xds"
)

// firstRev is the rev of a scope that no Envoy has refused, so that replicas
// and restarts build equal content.
const firstRev = 1

// builders make the messages. They are those of package xds, but for tests
// that must send what xds.Validate would refuse.
type builders struct {
	cluster  func(*registry.Server) (proto.Message, error)
	scope    func(versions []*registry.Server, rev uint64) (proto.Message, error)
	fixed    func(rev uint64) ([]namedMessage, error)
	validate func(proto.Message) error
}

// namedMessage is a message with its resource name.
type namedMessage struct {
	name string
	msg  proto.Message
}

func xdsBuilders(cfg xds.Config) builders {
	return builders{
		cluster: func(s *registry.Server) (proto.Message, error) { return xds.Cluster(s, cfg) },
		scope: func(versions []*registry.Server, rev uint64) (proto.Message, error) {
			return xds.ServerScope(versions, rev, cfg)
		},
		fixed: func(rev uint64) ([]namedMessage, error) {
			list, err := xds.FixedScopes(rev, cfg)
			if err != nil {
				return nil, err
			}
			out := make([]namedMessage, len(list))
			for i, s := range list {
				out[i] = namedMessage{s.GetName(), s}
			}
			return out, nil
		},
		validate: xds.Validate,
	}
}

// finish validates and encodes what a builder made.
func (b *builders) finish(k kind, name string, m proto.Message, err error) (content, error) {
	if err != nil {
		return content{}, fmt.Errorf("build %s %s: %w", k, name, err)
	}
	if err := b.validate(m); err != nil {
		return content{}, fmt.Errorf("validate %s %s: %w", k, name, err)
	}
	return encode(k, name, m)
}

// clusterOf is the cluster of one generation of a server.
func (b *builders) clusterOf(s *registry.Server) (content, error) {
	m, err := b.cluster(s)
	return b.finish(clusters, xds.ClusterName(s.Name, s.Metadata.Generation), m, err)
}

// scopeOf is the scope of a server with the given generations, oldest first.
func (b *builders) scopeOf(versions []*registry.Server, rev uint64) (content, error) {
	m, err := b.scope(versions, rev)
	return b.finish(scopes, versions[len(versions)-1].Name, m, err)
}

// fixedOf are the scopes that are no server's, in the order of sending.
func (b *builders) fixedOf(rev uint64) ([]content, error) {
	list, err := b.fixed(rev)
	if err != nil {
		return nil, fmt.Errorf("build fixed scopes: %w", err)
	}
	out := make([]content, len(list))
	for i, n := range list {
		if out[i], err = b.finish(scopes, n.name, n.msg, nil); err != nil {
			return nil, err
		}
	}
	return out, nil
}
