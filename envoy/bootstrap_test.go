package envoy_test

import (
	"strings"
	"testing"

	"github.com/mcpgate/mcpgate/envoy"
	"github.com/mcpgate/mcpgate/envoy/envoytest"
)

func TestBootstrapIsAcceptedByEnvoy(t *testing.T) {
	t.Parallel()
	b := envoy.Bootstrap{XDSAddress: "unix:xds.sock", AuthzAddress: "unix:authz.sock", WebAddress: "unix:web.sock"}
	y, err := b.YAML()
	if err != nil {
		t.Fatal(err)
	}
	envoytest.Validate(t, y)

	e := envoytest.Start(t, y)
	for _, name := range []string{"xds", "authz", "proc", "web", "no-decision"} {
		if !strings.Contains(e.Get("/clusters"), name+"::") {
			t.Errorf("envoy has no cluster %s", name)
		}
	}
}
