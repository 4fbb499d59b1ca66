package command_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/command"
)

// Help reads alike everywhere: a sentence for every command and flag, an
// example for every verb that starts with the program's name.
func TestHelpTexts(t *testing.T) {
	t.Parallel()
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		path := c.CommandPath()
		sentence(t, path, c.Short)
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" {
				sentence(t, path+" --"+f.Name, f.Usage)
			}
		})
		if c.HasSubCommands() {
			return
		}
		if c.RunE == nil || c.Run != nil {
			t.Errorf("%s does not run by RunE", path)
		}
		if c.Args == nil {
			t.Errorf("%s does not say which arguments it takes", path)
		}
		if c.Example == "" {
			t.Errorf("%s has no example", path)
		}
		for line := range strings.Lines(c.Example) {
			if line = strings.TrimSuffix(line, "\n"); !strings.HasPrefix(line, "  mcpgate ") || !strings.Contains(line, path) {
				t.Errorf("example of %s: %q", path, line)
			}
		}
	}
	walk(command.Root())
}

func sentence(t *testing.T, what, text string) {
	t.Helper()
	if text == "" || !unicode.IsUpper([]rune(text)[0]) || !strings.HasSuffix(text, ".") {
		t.Errorf("the help of %s is no sentence: %q", what, text)
	}
}

// Every flag that an example names is one that the command has.
func TestExamplesParse(t *testing.T) {
	t.Parallel()
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		for line := range strings.Lines(c.Example) {
			for part := range strings.SplitSeq(line, "|") {
				part, _, _ = strings.Cut(part, ">")
				fields := words(part)
				if len(fields) == 0 {
					continue
				}
				root := command.Root()
				found, args, err := root.Find(fields[1:])
				if err != nil {
					t.Errorf("%q: %v", part, err)
					continue
				}
				if err := found.ParseFlags(args); err != nil {
					t.Errorf("%q: %v", part, err)
					continue
				}
				if err := found.ValidateArgs(found.Flags().Args()); err != nil {
					t.Errorf("%q: %v", part, err)
				}
				if err := found.ValidateRequiredFlags(); err != nil {
					t.Errorf("%q: %v", part, err)
				}
			}
		}
	}
	walk(command.Root())
}

// words splits a command line as a shell does, as far as the examples need.
func words(line string) []string {
	quoted := false
	return strings.FieldsFunc(strings.TrimSpace(line), func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return unicode.IsSpace(r) && !quoted
	})
}
