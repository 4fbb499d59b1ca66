package command

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/api"
)

// writeFlags are the flags that every writing command has.
type writeFlags struct {
	wait     time.Duration
	dryRun   bool
	revision int64
}

func (f *writeFlags) addTo(fs *pflag.FlagSet) {
	fs.DurationVar(&f.wait, "wait", 10*time.Second, "How long to wait for the connected Envoys to accept the change; 0 not at all.")
	fs.BoolVar(&f.dryRun, "dry-run", false, "Check and show what would change, and change nothing.")
}

// addRevisionTo adds the condition of commands that write one resource.
func (f *writeFlags) addRevisionTo(fs *pflag.FlagSet) {
	fs.Int64Var(&f.revision, "revision", -1, "Write only if the resource is at this revision (0: does not exist).")
}

func (f *writeFlags) options() api.WriteOptions {
	opt := api.WriteOptions{Wait: f.wait, DryRun: f.dryRun}
	if f.revision >= 0 {
		opt.Revision = &f.revision
	}
	return opt
}

// Errors of a write that was stored but has not reached every Envoy.
var (
	errRejected = errors.New("stored, but an Envoy refused it")
	errNotYet   = errors.New("stored, but not every Envoy has accepted it yet")
)

// report prints what a write did, and fails when an Envoy did not take it.
func (f *writeFlags) report(cmd *cobra.Command, answer api.WriteAnswer) error {
	out := cmd.OutOrStdout()
	for _, o := range answer.Outcomes {
		suffix := ""
		if answer.DryRun {
			suffix = " (dry run)"
		}
		key := registry.Key{Kind: o.Kind, Name: o.Name}
		if _, err := fmt.Fprintf(out, "%s %s%s\n", key, o.Action, suffix); err != nil {
			return err
		}
	}
	for _, w := range answer.Warnings {
		if err := note(cmd.ErrOrStderr(), "warning: %s", w); err != nil {
			return err
		}
	}
	return reportRollout(cmd.ErrOrStderr(), answer.Rollout, f.wait)
}

func reportRollout(stderr io.Writer, r *api.Rollout, wait time.Duration) error {
	switch {
	case r == nil:
		return nil
	case len(r.Rejections) > 0:
		err := errRejected
		for _, x := range r.Rejections {
			err = fmt.Errorf("%w\n  %s: %s %s: %s", err, x.Node, x.Type, x.Resource, x.Message)
		}
		return withHint(err, "mcpgate status shows what each Envoy runs")
	case !r.Complete:
		return withHint(fmt.Errorf("%w (waited %s)", errNotYet, wait), "mcpgate status shows what each Envoy has accepted; --wait sets the time")
	case r.Envoys == 0:
		return note(stderr, "note: no Envoy is connected; the change takes effect when one is")
	}
	return nil
}

func note(w io.Writer, format string, args ...any) error {
	_, err := fmt.Fprintf(w, format+"\n", args...)
	return err
}
