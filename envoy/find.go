package envoy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// EnvVar names the Envoy to use.
const EnvVar = "ENVOY"

// toolsGlob is where `make tools` unpacks Envoy, below the repository's root.
const toolsGlob = ".tools/envoy-*/envoy"

// ErrNotFound is returned by Find when there is no Envoy at all.
var ErrNotFound = errors.New("no envoy found: set $" + EnvVar + ", put envoy on the PATH, or run `make tools`")

// Find returns the Envoy to run: the explicit path, else $ENVOY, else the
// `envoy` on PATH, else the newest in a .tools folder at or above the working
// directory or the executable. An explicit path or $ENVOY that does not run,
// or is older than MinVersion, is an error. An old one on PATH is passed over
// when the tools folder has a newer one, else it is an *OldVersionError.
func Find(explicit string) (Binary, error) {
	if explicit != "" {
		return Inspect(explicit)
	}
	if path := os.Getenv(EnvVar); path != "" {
		b, err := Inspect(path)
		if err != nil {
			return Binary{}, fmt.Errorf("$%s: %w", EnvVar, err)
		}
		return b, nil
	}
	var onPath error
	if path, err := exec.LookPath("envoy"); err == nil {
		b, err := Inspect(path)
		if err == nil {
			return b, nil
		}
		onPath = err
	}
	var starts []string
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if exe, err := os.Executable(); err == nil {
		if exe, err = filepath.EvalSymlinks(exe); err == nil {
			starts = append(starts, filepath.Dir(exe))
		}
	}
	b, err := findTools(starts)
	if errors.Is(err, ErrNotFound) && onPath != nil {
		return Binary{}, onPath
	}
	return b, err
}

// findTools looks into the tools folder of each directory and of all above it.
func findTools(starts []string) (Binary, error) {
	var bad []error
	for _, dir := range starts {
		for {
			found, err := filepath.Glob(filepath.Join(escapeGlob(dir), toolsGlob))
			if err != nil {
				return Binary{}, fmt.Errorf("look for envoy in %s: %w", dir, err)
			}
			slices.SortFunc(found, func(a, b string) int { return compareVersions(toolsVersion(b), toolsVersion(a)) })
			for _, path := range found {
				// A folder above the working directory may be anyone's.
				if !trusted(path) {
					continue
				}
				b, err := Inspect(path)
				if err == nil {
					return b, nil
				}
				bad = append(bad, err)
			}
			up := filepath.Dir(dir)
			if up == dir {
				break
			}
			dir = up
		}
	}
	if len(bad) > 0 {
		return Binary{}, errors.Join(bad...)
	}
	return Binary{}, ErrNotFound
}

// toolsVersion is the version in the name of a tools folder.
func toolsVersion(path string) string {
	return strings.TrimPrefix(filepath.Base(filepath.Dir(path)), "envoy-")
}

// escapeGlob makes a directory's name literal in a pattern.
func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}
