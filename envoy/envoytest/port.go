package envoytest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Ports come from below the ephemeral range (32768 to 60999 on Linux): a port
// inside it may be some connection's local port when Envoy wants to bind it.
const (
	firstPort = 18000
	lastPort  = 31999
)

// FreePort returns a TCP port of 127.0.0.1 that is free and stays reserved for
// the test until it ends, among all test processes of the machine. The
// reservation is a UDP socket on the same number: Envoy binds with SO_REUSEPORT,
// so two of them could share a TCP port without noticing.
func FreePort(t testing.TB) int {
	t.Helper()
	const tries = 200
	for range tries {
		port := firstPort + rand.IntN(lastPort-firstPort+1) //nolint:gosec // not a secret
		lock, err := reserve(port)
		if err != nil {
			continue
		}
		t.Cleanup(func() {
			if err := lock.Close(); err != nil {
				t.Errorf("release port %d: %v", port, err)
			}
		})
		return port
	}
	t.Fatalf("no free port in %d tries", tries)
	return 0
}

// reserve takes the lock of a port and checks that nothing listens on it.
func reserve(port int) (net.PacketConn, error) {
	var lc net.ListenConfig
	ctx := context.Background()
	address := ":" + strconv.Itoa(port)
	lock, err := lc.ListenPacket(ctx, "udp4", address)
	if err != nil {
		return nil, err
	}
	l, err := lc.Listen(ctx, "tcp4", address)
	if err == nil {
		err = l.Close()
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}
