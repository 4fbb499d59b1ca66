package envoy_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpgate/mcpgate/envoy"
)

// fakeEnvoy writes a program that says it is that version of Envoy.
func fakeEnvoy(t *testing.T, path, version string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\necho\necho 'envoy  version: 9e5580933739775e8bce696a57a2e1bc99368f23/%s/Clean/RELEASE/BoringSSL'\n", version)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestInspectReadsTheVersionAndRefusesAnOldEnvoy(t *testing.T) {
	for version, want := range map[string]string{
		"1.40.0": "1.40.0", "1.39.1": "1.39.1", "1.39.10": "1.39.10", "2.0.0": "2.0.0", "1.41.0-dev": "1.41.0", "10.0.1": "10.0.1",
		"1.39.0": "", "1.38.9": "", "1.9.99": "", "0.40.0": "",
	} {
		path := fakeEnvoy(t, filepath.Join(t.TempDir(), "envoy"), version)
		b, err := envoy.Inspect(path)
		var old *envoy.OldVersionError
		switch {
		case want != "" && (err != nil || b != envoy.Binary{Path: path, Version: want}):
			t.Errorf("%s: %+v, %v", version, b, err)
		case want == "" && !errors.As(err, &old):
			t.Errorf("%s: not refused as old: %+v, %v", version, b, err)
		case want == "" && (!strings.Contains(err.Error(), version) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), envoy.MinVersion)):
			t.Errorf("%s: the error does not say what is wrong: %v", version, err)
		}
	}
}

func TestInspectRefusesWhatIsNotEnvoy(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "envoy")
	for _, script := range []string{"#!/bin/sh\necho version 1.40.0\n", "#!/bin/sh\necho nonsense >&2\nexit 3\n", ""} {
		if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		if b, err := envoy.Inspect(path); err == nil {
			t.Errorf("%q is %+v", script, b)
		}
	}
	if _, err := envoy.Inspect(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestFindTakesTheExplicitOneThenTheVariableThenThePathThenTheTools(t *testing.T) {
	dir := t.TempDir()
	explicit := fakeEnvoy(t, filepath.Join(dir, "explicit", "envoy"), "1.40.1")
	variable := fakeEnvoy(t, filepath.Join(dir, "variable", "envoy"), "1.40.2")
	onPath := fakeEnvoy(t, filepath.Join(dir, "path", "envoy"), "1.40.3")
	fakeEnvoy(t, filepath.Join(dir, "old", "envoy"), "1.30.0")
	fakeEnvoy(t, filepath.Join(dir, "repo", ".tools", "envoy-1.39.9", "envoy"), "1.39.9")
	tools := fakeEnvoy(t, filepath.Join(dir, "repo", ".tools", "envoy-1.39.10", "envoy"), "1.39.10")
	below := filepath.Join(dir, "repo", "a", "b")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		name, explicit, variable, path, dir string
		want, err                           string
	}{
		{"explicit", explicit, variable, "path", below, explicit, ""},
		{"variable", "", variable, "path", below, variable, ""},
		{"path", "", "", "path", below, onPath, ""},
		{"tools, newest by number", "", "", "nothing", below, tools, ""},
		{"old on the path, tools", "", "", "old", below, tools, ""},
		{"old on the path", "", "", "old", dir, "", "too old"},
		{"old explicit", filepath.Join(dir, "old", "envoy"), variable, "path", below, "", "too old"},
		{"old variable", "", filepath.Join(dir, "old", "envoy"), "path", below, "", "$ENVOY: envoy 1.30.0"},
		{"bad variable", "", filepath.Join(dir, "none"), "path", below, "", "$ENVOY"},
		{"none", "", "", "nothing", dir, "", "no envoy found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("ENVOY", c.variable)
			t.Setenv("PATH", filepath.Join(dir, c.path)+":/bin:/usr/bin")
			t.Chdir(c.dir)
			b, err := envoy.Find(c.explicit)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("found %+v, %v; want error %q", b, err, c.err)
				}
				return
			}
			if err != nil || b.Path != c.want {
				t.Errorf("found %+v, %v; want %s", b, err, c.want)
			}
		})
	}
}

func TestFindDoesNotRunWhatAnyoneMayChange(t *testing.T) {
	dir := t.TempDir()
	path := fakeEnvoy(t, filepath.Join(dir, ".tools", "envoy-9.0.0", "envoy"), "9.0.0")
	if err := os.Chmod(path, 0o757); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ENVOY", "")
	t.Setenv("PATH", "/bin:/usr/bin")
	t.Chdir(dir)
	if b, err := envoy.Find(""); !errors.Is(err, envoy.ErrNotFound) {
		t.Errorf("found %+v, %v", b, err)
	}
}
