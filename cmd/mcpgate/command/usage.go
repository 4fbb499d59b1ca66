package command

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// usageError is a mistake in how the program was called, found by a command
// itself; exit code 2 says so.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func isUsage(err error) bool {
	var u usageError
	return errors.As(err, &u)
}

// checkForm checks the value of -o.
func checkForm(form string, known ...string) error {
	if slices.Contains(known, form) {
		return nil
	}
	return usageError{withHint(fmt.Errorf("no output form %q", form), "the forms are "+strings.Join(known, ", "))}
}

// noteStart makes every command of the tree set started when it begins to run:
// cobra finds mistakes in arguments and flags before that. A command that only
// groups others shows them, and has no arguments.
func noteStart(cmd *cobra.Command, started *bool) {
	for _, c := range cmd.Commands() {
		noteStart(c, started)
	}
	run := cmd.RunE
	if run == nil {
		cmd.Args = cobra.NoArgs
		cmd.DisableFlagsInUseLine = true
		run = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		*started = true
		return run(cmd, args)
	}
}
