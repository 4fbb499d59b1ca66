package check

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// MaxMessageBytes is the largest gRPC message accepted. A CheckRequest holds
// the whole body and the headers, so the gateway's maxRequestBytes must stay
// 1 MiB below.
const MaxMessageBytes = 17 << 20

// streamWorkers serve checks one after the other, on stacks that have grown to
// what a check needs: growing a new one for each costs a seventh of a check. A
// check, or a stream of ext_proc, that finds all of them busy gets a goroutine
// of its own.
const streamWorkers = 64

// ServerOptions are the options of a gRPC server that serves a Server, and may
// serve ext_proc beside it. They are part of how this package reads a
// CheckRequest: without them every check ends in an error, and so in a
// refusal.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		// Windows above 64 KiB turn off the estimation of the bandwidth-delay
		// product, which costs a PING for nearly every check.
		grpc.InitialWindowSize(1 << 20),
		grpc.InitialConnWindowSize(1 << 20),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.MaxRecvMsgSize(MaxMessageBytes),
		// Envoy keeps to 1000 itself and opens another connection.
		grpc.MaxConcurrentStreams(2048),
		grpc.MaxHeaderListSize(16 << 10),
		grpc.ConnectionTimeout(5 * time.Second),
		// Envoy's own keepalive of one PING a second (ext_proc) is not abuse.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime:             200 * time.Millisecond,
			PermitWithoutStream: true,
		}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time:    30 * time.Second,
			Timeout: 10 * time.Second,
		}),
	}
}
