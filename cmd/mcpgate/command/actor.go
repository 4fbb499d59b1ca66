package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/oklog/run"
)

// actors is a run group of named parts. They are stopped in the order in which
// they were added, each waited for before the next is told: whoever depends on
// others comes first. The end of one stops them all.
type actors struct {
	group run.Group
	log   *slog.Logger
}

// errStopped ends the group when the program is asked to.
var errStopped = errors.New("stopped")

// newActors returns a group that ends when ctx does.
func newActors(ctx context.Context, log *slog.Logger) *actors {
	a := &actors{log: log}
	stop := make(chan struct{})
	a.group.Add(func() error {
		select {
		case <-ctx.Done():
		case <-stop:
		}
		return errStopped
	}, func(error) { close(stop) })
	return a
}

// add puts a part in the group. execute must return soon after its ctx ends.
func (a *actors) add(name string, execute func(ctx context.Context) error) {
	// The parts outlive the context of the program, to be stopped in order.
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	a.group.Add(func() error {
		defer close(done)
		a.log.DebugContext(ctx, "actor started", "actor", name)
		err := execute(ctx)
		switch {
		case ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)):
			return nil
		case err == nil:
			return fmt.Errorf("%s ended by itself", name)
		}
		return fmt.Errorf("%s: %w", name, err)
	}, func(error) {
		cancel()
		<-done
		a.log.DebugContext(ctx, "actor stopped", "actor", name)
	})
}

// run returns when every part has stopped: nil if the program was asked to
// stop, else the error of the part that failed.
func (a *actors) run() error {
	if err := a.group.Run(); !errors.Is(err, errStopped) {
		return err
	}
	return nil
}
