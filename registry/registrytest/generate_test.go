package registrytest_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/registrytest"
)

func TestResourcesAreValidAndSurviveEncoding(t *testing.T) {
	t.Parallel()
	kinds := append(registry.Kinds(), registry.KindSessionKey, registry.KindTask)
	rapid.Check(t, func(t *rapid.T) {
		r := registrytest.Resources(kinds...).Draw(t, "resource")
		if err := registry.Validate(r); err != nil {
			t.Fatal(err)
		}
		b, err := registry.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := registry.Decode(b)
		if err != nil || !registry.Equal(r, back) {
			t.Fatalf("decoded %#v, %v", back, err)
		}
		if !registry.Equal(r, r.Clone()) {
			t.Fatal("a clone differs")
		}
	})
}
