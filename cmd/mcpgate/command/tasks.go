package command

import (
	"context"
	"errors"
	"time"

	"github.com/mcpgate/mcpgate/registry"
)

// sweepTasks removes the bindings of tasks that have had their time, until ctx
// ends. They have no effect any more: a store that cannot be written to is
// tried again.
func (g *gateway) sweepTasks(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		err := g.tasks.Sweep(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, registry.ErrClosed):
			return err
		case err != nil:
			g.log.ErrorContext(ctx, "expired tasks not removed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
