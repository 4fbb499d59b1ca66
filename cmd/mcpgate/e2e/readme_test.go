package e2e_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestREADMEFirstPolicy runs what the README shows: its registry.yaml, and the
// commands after it, as they are printed.
func TestREADMEFirstPolicy(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	registry := regexp.MustCompile("(?s)```yaml\n# registry\\.yaml\n(.*?)```").FindSubmatch(readme)
	if registry == nil {
		t.Fatal("the README has no registry.yaml")
	}
	g := start(t, "")
	g.apply(string(registry[1]))
	ran := 0
	for _, line := range regexp.MustCompile(`(?m)^bin/mcpgate (server add|explain|status)\b(.*)$`).FindAllStringSubmatch(string(readme), -1) {
		out := g.mustRun("", append(strings.Fields(line[1]), words(line[2])...)...)
		ran++
		if line[1] == "explain" && (!strings.Contains(out, "deny, status 403") || !strings.Contains(out, "weather:write")) {
			t.Errorf("explain says\n%s", out)
		}
	}
	if ran != 3 {
		t.Errorf("%d commands were run, want three", ran)
	}
	// A file that the reader does not have yet must not be asked for.
	if strings.Contains(string(readme), "--config") {
		t.Error("the README names a configuration file that nothing before it makes")
	}
}

// words splits a line of the shell that has double quotes at most.
func words(line string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`"([^"]*)"|\S+`).FindAllStringSubmatch(line, -1) {
		if m[1] != "" {
			out = append(out, m[1])
		} else {
			out = append(out, m[0])
		}
	}
	return out
}
