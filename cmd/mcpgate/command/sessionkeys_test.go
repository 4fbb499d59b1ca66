package command

import (
	"testing"
	"time"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/config"
	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/registrytest"
)

func TestSessionKeysRotate(t *testing.T) {
	t.Parallel()
	store := registrytest.NewMemory()
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	sessions := config.Sessions{Rotate: registry.Duration(24 * time.Hour), Keep: registry.Duration(72 * time.Hour)}
	start := time.Now()
	step := func(after time.Duration, wantKeys int) []string {
		t.Helper()
		next, err := rotateSessionKeys(t.Context(), store, sessions, start.Add(after))
		if err != nil {
			t.Fatal(err)
		}
		if !next.After(start.Add(after)) {
			t.Errorf("after %s: next is %s, not later", after, next)
		}
		page, err := store.List(t.Context(), registry.KindSessionKey, registry.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, r := range page.Resources {
			names = append(names, r.Key().Name)
		}
		if len(names) != wantKeys {
			t.Errorf("after %s: %d keys, want %d", after, len(names), wantKeys)
		}
		return names
	}
	first := step(0, 1)
	if again := step(time.Hour, 1); again[0] != first[0] {
		t.Error("a young key was replaced")
	}
	step(25*time.Hour, 2)
	// Both were made by the store's clock, now; past Keep both go, and a new
	// one comes.
	last := step(73*time.Hour, 1)
	if last[0] == first[0] {
		t.Error("a key outlived Keep")
	}
}

func TestSessionKeysSurviveAClockSetBack(t *testing.T) {
	t.Parallel()
	store := registrytest.NewMemory()
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	sessions := config.Sessions{Rotate: registry.Duration(time.Hour), Keep: registry.Duration(2 * time.Hour)}
	if _, err := rotateSessionKeys(t.Context(), store, sessions, time.Now()); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-1000 * time.Hour)
	next, err := rotateSessionKeys(t.Context(), store, sessions, past)
	if err != nil {
		t.Fatal(err)
	}
	if next.Sub(past) > time.Hour {
		t.Errorf("next rotation is %s away, more than an hour", next.Sub(past))
	}
}
