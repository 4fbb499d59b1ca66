package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/config"
	"github.com/mcpgate/mcpgate/registry"
)

func parse(t *testing.T, text string) config.Config {
	t.Helper()
	c, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c := parse(t, "dataDir: /d")
	want := config.Default()
	want.DataDir = "/d"
	want.Store.Bolt.Path = "/d/registry.db"
	want.XDS.Listen = "unix:/d/xds.sock"
	want.ExtAuthz.Listen = "unix:/d/authz.sock"
	want.Web.Listen = "unix:/d/web.sock"
	want.Admin.Listen = "unix:/d/admin.sock"
	want.Envoy.AdminListen = "unix:/d/envoy.sock"
	want.Gateway.Hosts = []string{"127.0.0.1", "localhost", "[::1]"}
	want.Gateway.AllowedOrigins = c.Gateway.AllowedOrigins // see TestDerivedDefaults
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	if c.ExtAuthz.Timeout != registry.Duration(500*time.Millisecond) || c.Gateway.MaxRequestBytes != 1<<20 || c.Gateway.Denial != "http" {
		t.Errorf("defaults: %+v", c)
	}
	if got := parse(t, "").DataDir; !filepath.IsAbs(got) || filepath.Base(got) != "mcpgate-data" {
		t.Errorf("the data directory is %s", got)
	}
	for _, nothing := range []string{"", "\n", "# only this\n", "---\n", "null\n", "gateway:\nxds: null\n"} {
		if diff := cmp.Diff(parse(t, "gateway: {}"), parse(t, nothing)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", nothing, diff)
		}
	}
}

func TestDerivedDefaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text    string
		url     string
		hosts   []string
		origins []string
	}{
		{"externalURL: https://MCP.example.com/\ngateway: {listen: '0.0.0.0:443'}", "https://MCP.example.com", []string{"mcp.example.com"}, []string{"https://MCP.example.com"}},
		{"externalURL: 'https://[2001:db8::1]:8443'\ngateway: {listen: '[::]:8443'}", "https://[2001:db8::1]:8443", []string{"[2001:db8::1]"}, []string{"https://[2001:db8::1]:8443"}},
		{"gateway: {listen: '0.0.0.0:8080', hosts: [a.example], allowedOrigins: [https://b.example]}", "http://127.0.0.1:8080", []string{"a.example"}, []string{"https://b.example"}},
	} {
		got := parse(t, c.text)
		if got.ExternalURL != c.url {
			t.Errorf("%s: externalURL %s", c.text, got.ExternalURL)
		}
		if diff := cmp.Diff(c.hosts, got.Gateway.Hosts); diff != "" {
			t.Errorf("%s: hosts (-want +got):\n%s", c.text, diff)
		}
		if diff := cmp.Diff(c.origins, got.Gateway.AllowedOrigins); diff != "" {
			t.Errorf("%s: origins (-want +got):\n%s", c.text, diff)
		}
	}
	// On a loopback listener the pages of the same machine are allowed.
	if got := parse(t, ""); !strings.Contains(fmt.Sprint(got.Gateway.AllowedOrigins), "http://localhost:") {
		t.Errorf("origins of a loopback listener: %v", got.Gateway.AllowedOrigins)
	}
}

// What `config show` prints reads back as the same.
func TestShownReadsBack(t *testing.T) {
	t.Parallel()
	c := parse(t, `dataDir: /d
gateway: {tls: {certFile: c, keyFile: k}, maxRequestBytes: 64KiB}
xds: {listen: "10.0.0.1:18000", tls: {certFile: c, keyFile: k, clientCAFile: a}}
extAuthz: {listen: "10.0.0.1:18001", insecure: true, timeout: 250ms}
admin: {listen: "10.0.0.1:18002", tls: {certFile: c, keyFile: k}, token: "env:T"}
envoy: {concurrency: 4}
`)
	text, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, parse(t, string(text))); diff != "" {
		t.Errorf("read back (-want +got):\n%s\n%s", diff, text)
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]config.Size{"1024": 1024, "64KiB": 64 << 10, "1MiB": 1 << 20, `"2MiB"`: 2 << 20, "5000": 5000} {
		if got := parse(t, "gateway: {maxRequestBytes: "+text+"}").Gateway.MaxRequestBytes; got != want {
			t.Errorf("%s is %d, want %d", text, got, want)
		}
	}
	for _, text := range []string{"1MB", "1.5MiB", "MiB", "-1", "1 MiB", "0x10", "true", "9223372036854775807GiB", "[1]", "''", "1e3"} {
		if _, err := config.Parse([]byte("gateway: {maxRequestBytes: " + text + "}")); err == nil || !strings.Contains(err.Error(), "gateway.maxRequestBytes") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Reading is strict, and tells every mistake with its line and field.
func TestStrictness(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"gateway: {lissten: a}":                            {"line 1: gateway.lissten: unknown field"},
		"a: 1\nb: 2\nxds:\n  listen: 5\n  insecure: maybe": {"line 1: a: unknown", "line 2: b: unknown", "line 4: xds.listen: must be a string", "line 5: xds.insecure: must be a truth value"},
		"DataDir: /d":                       {"line 1: DataDir: unknown field"},
		"dataDir: /a\ndataDir: /b":          {"dataDir"},
		"dataDir: /a\n---\ndataDir: /b":     {"one document only"},
		"gateway: [a]":                      {"line 1: gateway: must be fields"},
		"gateway: {hosts: a}":               {"gateway.hosts: must be a list"},
		"gateway: {hosts: [a, {}]}":         {"gateway.hosts[1]: must be a string"},
		"envoy: {concurrency: many}":        {"envoy.concurrency: must be a whole number"},
		"envoy: {concurrency: 1.5}":         {"envoy.concurrency: must be a whole number"},
		"envoy: {concurrency: '1'}":         {"envoy.concurrency: must be a whole number"},
		"extAuthz: {timeout: 5}":            {"extAuthz.timeout: "},
		"extAuthz: {timeout: {}}":           {"extAuthz.timeout: must be a single value"},
		"- a":                               {"must be fields"},
		"text":                              {"must be fields"},
		"a: b: c":                           {"yaml"},
		"? [a]\n: b":                        {"unknown field"},
		"gateway: &g {hosts: [a]}\nxds: *g": {"xds.hosts: unknown field"},
		"<<: {dataDir: /d}":                 {"<<: unknown field"},
		"# " + strings.Repeat("x", 1<<20):   {"larger than"},
		"a: &a [*a]":                        {"a"},
	} {
		_, err := config.Parse([]byte(text))
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%.60q: %v, want %q", text, err, w)
			}
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if _, err := config.Load("nosuch.yaml"); err == nil {
		t.Error("a file that is named must be there")
	}
	if err := os.WriteFile("other.yaml", []byte("dataDir: /other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := config.Load("other.yaml"); err != nil || c.DataDir != "/other" {
		t.Errorf("named file: %s %v", c.DataDir, err)
	}
	if err := os.WriteFile(config.DefaultFile, []byte("dataDir: /unasked\nlog: {level: debug}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := config.Load(""); err != nil || c.DataDir != "/unasked" || c.Log.Level != "debug" || c.Log.Format != "text" {
		t.Errorf("%s of the working directory: %+v %v", config.DefaultFile, c, err)
	}
	if err := os.WriteFile(config.DefaultFile, []byte("nosuch: 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(""); err == nil || !strings.Contains(err.Error(), "configuration mcpgate.yaml: ") {
		t.Errorf("bad default file: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("dataDir: /d\ngateway: {hosts: [a], maxRequestBytes: 1MiB}\n")
	f.Add("a: &a [*a]\n<<: *a")
	f.Add("extAuthz: {timeout: 1s}\n---\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := config.Parse([]byte(text))
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Errorf("accepted, and not valid: %v", err)
		}
	})
}
