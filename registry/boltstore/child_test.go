package boltstore_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"testing"

	"github.com/mcpgate/mcpgate/registry/boltstore"
)

// Some tests need a second process: the test binary, started with these.
const (
	childEnv     = "BOLTSTORE_TEST_CHILD"
	childPathEnv = "BOLTSTORE_TEST_PATH"
)

// runChild is the main function of a child and returns its exit status.
func runChild(name, path string) int {
	children := map[string]func(string) error{"write": childWrite, "hold": childHold}
	maps.Copy(children, platformChildren())
	fn := children[name]
	if fn == nil {
		fn = func(string) error { return fmt.Errorf("no child %q", name) }
	}
	if err := fn(path); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "child:", err) // there is nowhere else to say it
		return 1
	}
	return 0
}

// childHold keeps the store open until its input ends.
func childHold(path string) error {
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, "open"); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return s.Close()
}

// process is a running child.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
}

func startChild(t *testing.T, name, path string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Its end is the test's matter, not the context's.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+name, childPathEnv+"="+path)
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has usually ended
		_ = cmd.Wait()
	})
	return &process{cmd: cmd, stdin: stdin, lines: bufio.NewScanner(stdout)}
}

// line is the next line of the child's output; ok is false at its end.
func (p *process) line() (string, bool) {
	ok := p.lines.Scan()
	return p.lines.Text(), ok
}
