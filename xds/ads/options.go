package ads

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

const (
	// maxRequestBytes is the largest request read. A reconnecting Envoy lists
	// the name and version of everything it has: 100,000 servers are about
	// 10 MB.
	maxRequestBytes = 64 << 20
	// pingAfter is the silence after which an Envoy is asked whether it is
	// there, pingTimeout how long its answer may take.
	pingAfter   = 15 * time.Second
	pingTimeout = 10 * time.Second
	// minClientPing is the shortest interval at which an Envoy may ask us; the
	// bootstrap's is 10s, and grpc-go's default would end its connection.
	minClientPing = 2 * time.Second
)

// ServerOptions are the options for a gRPC server that serves discovery: large
// requests, and keepalive in both directions, so that a dead peer is noticed.
// Responses have no limit, since a first one is sent whole.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.MaxConcurrentStreams(16),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minClientPing, PermitWithoutStream: true}),
	}
}
