package command

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recordingActors is a group whose parts note when they end.
func recordingActors(ctx context.Context, names ...string) (*actors, *[]string) {
	a, ended := newActors(ctx, slog.New(slog.DiscardHandler)), &[]string{}
	for _, name := range names {
		a.add(name, func(ctx context.Context) error {
			<-ctx.Done()
			*ended = append(*ended, name) // one after the other: see actors
			return ctx.Err()
		})
	}
	return a, ended
}

func TestActorsStopInOrder(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	a, ended := recordingActors(ctx, "envoy", "xds", "registry")
	cancel()
	if err := a.run(); err != nil {
		t.Errorf("an orderly end: %v", err)
	}
	if diff := cmp.Diff([]string{"envoy", "xds", "registry"}, *ended); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

// The end of one part ends all, and is told.
func TestActorsFailTogether(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, err := range map[string]error{"with an error": broken, "without": nil} {
		a, ended := recordingActors(t.Context(), "envoy", "xds")
		a.add("web", func(context.Context) error { return err })
		got := a.run()
		if got == nil || !strings.HasPrefix(got.Error(), "web") || err != nil && !errors.Is(got, broken) {
			t.Errorf("%s: %v", name, got)
		}
		if diff := cmp.Diff([]string{"envoy", "xds"}, *ended); diff != "" {
			t.Errorf("%s: order (-want +got):\n%s", name, diff)
		}
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	p := newProgress()
	p.reach(3)
	p.reach(2)
	if p.revision() != 3 {
		t.Errorf("revision %d after 3 and 2", p.revision())
	}
	if err := p.wait(t.Context(), 3); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	reached := make(chan error, 2)
	go func() { reached <- p.wait(t.Context(), 5) }()
	p.reach(4)
	p.reach(6)
	if err := <-reached; err != nil {
		t.Error(err)
	}
	go func() { reached <- p.wait(ctx, 7) }()
	cancel()
	if err := <-reached; !errors.Is(err, context.Canceled) {
		t.Errorf("wait ended with %v", err)
	}
}
