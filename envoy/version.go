package envoy

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// MinVersion is the oldest Envoy accepted: older ones have known bypasses in
// path normalisation and in authorization filters (CVE-2026-73551 and others).
const MinVersion = "1.39.1"

// versionTimeout bounds `envoy --version`.
const versionTimeout = 20 * time.Second

// Binary is an Envoy executable.
type Binary struct {
	Path string
	// Version is such as "1.40.0", without the suffix of a development build.
	Version string
}

// OldVersionError says that an Envoy is older than MinVersion.
type OldVersionError struct {
	Binary Binary
}

// Error implements error.
func (e *OldVersionError) Error() string {
	return fmt.Sprintf("envoy %s at %s is too old: %s or later is needed", e.Binary.Version, e.Binary.Path, MinVersion)
}

// versionLine is "envoy  version: <commit>/<version>/<state>/<build>/<ssl>".
var versionLine = regexp.MustCompile(`version: [0-9a-f]*/(\d+\.\d+\.\d+)(?:-[^/\s]*)?/`)

// Inspect runs the executable at path to learn its version. An older one than
// MinVersion is an *OldVersionError.
func Inspect(path string) (Binary, error) {
	ctx, cancel := context.WithTimeout(context.Background(), versionTimeout)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path, "--version") //nolint:gosec // the operator names the program to run
	cmd.Stderr = &stderr
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return Binary{}, fmt.Errorf("run %s --version: %w%s", path, err, tail(stderr.Bytes()))
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return Binary{}, fmt.Errorf("run %s --version: the output is not that of envoy", path)
	}
	b := Binary{Path: path, Version: string(m[1])}
	if older(b.Version, MinVersion) {
		return Binary{}, &OldVersionError{Binary: b}
	}
	return b, nil
}

// tail is the end of a program's output for an error text.
func tail(out []byte) string {
	out = bytes.TrimSpace(out)
	if len(out) == 0 {
		return ""
	}
	if i := bytes.LastIndexByte(out, '\n'); i >= 0 {
		out = out[i+1:]
	}
	return ": " + string(out[:min(len(out), 300)])
}

// older compares versions of the form a.b.c by number.
func older(v, than string) bool { return compareVersions(v, than) < 0 }

// compareVersions is -1, 0 or 1; what is not a number counts as 0.
func compareVersions(a, b string) int {
	for range 3 {
		var x, y int
		x, a = leadingNumber(a)
		y, b = leadingNumber(b)
		if x != y {
			if x < y {
				return -1
			}
			return 1
		}
	}
	return 0
}

// leadingNumber splits "40.0" into 40 and "0".
func leadingNumber(s string) (n int, rest string) {
	i := 0
	for i < len(s) && s[i] != '.' {
		i++
	}
	n, err := strconv.Atoi(s[:i])
	if err != nil {
		n = 0
	}
	if i < len(s) {
		i++
	}
	return n, s[i:]
}
