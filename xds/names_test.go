package xds_test

import (
	"testing"

	"github.com/mcpgate/mcpgate/xds"
)

// TestClusterNamesOfNeighbours: names and generations that would run together
// without a sign between them that no name has.
func TestClusterNamesOfNeighbours(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, name := range []string{"a", "a1", "a-1", "a1-1", "1", "11", "a-11"} {
		for _, generation := range []int64{1, 11, 111} {
			cluster := xds.ClusterName(name, generation)
			if other, ok := seen[cluster]; ok {
				t.Errorf("%s of %s@%d is that of %s as well", cluster, name, generation, other)
			}
			seen[cluster] = xds.RouteKey(name, generation)
		}
	}
}
