package envoytest_test

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/mcpgate/mcpgate/envoy/envoytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFreePortIsOutsideTheEphemeralRangeAndGivenOnce(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 50 {
		p := envoytest.FreePort(t)
		if p >= 32768 || p < 1024 || seen[p] {
			t.Errorf("port %d is in the ephemeral range, or was given before", p)
		}
		seen[p] = true
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:"+strconv.Itoa(p))
		if err != nil {
			t.Errorf("port %d is not free: %v", p, err)
			continue
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestStartGivesAnAdminEndpointToABootstrapWithoutOne(t *testing.T) {
	t.Parallel()
	e := envoytest.Start(t, []byte("{}"))
	e.WaitReady()
	if got := e.Get("/ready"); got != "LIVE\n" {
		t.Errorf("/ready is %q", got)
	}
	if e.Counter("server.live") != 1 || e.Counter("no.such.counter") != 0 {
		t.Error("counters are not read")
	}
	e.WaitCounter("server.live", 1)
	e.Stop()
	e.Stop()
	select {
	case <-e.Done():
	default:
		t.Error("envoy runs after Stop")
	}
}

func TestStartUsesTheAdminEndpointOfTheBootstrap(t *testing.T) {
	t.Parallel()
	port := envoytest.FreePort(t)
	e := envoytest.Start(t, []byte("admin: {address: {socket_address: {address: 127.0.0.1, port_value: "+strconv.Itoa(port)+"}}}"))
	e.WaitListener("127.0.0.1:" + strconv.Itoa(port))
	if !strings.Contains(e.Get("/config_dump"), "BootstrapConfigDump") {
		t.Error("no config dump")
	}
}

func TestCheckReportsWhatEnvoyRefuses(t *testing.T) {
	t.Parallel()
	if err := envoytest.Check(t, []byte("nonsense: 1")); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("Check: %v", err)
	}
	envoytest.Validate(t, []byte("{}"))
}
