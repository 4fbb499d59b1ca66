package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mcpgate/mcpgate/registry"
)

// DefaultFile is read when no --config is given, if it is there.
const DefaultFile = "mcpgate.yaml"

// Default is a configuration that works on one machine.
func Default() Config {
	return Config{
		DataDir:     "./mcpgate-data",
		ExternalURL: "http://127.0.0.1:8080",
		Gateway: Gateway{
			Listen:          "127.0.0.1:8080",
			MaxRequestBytes: 1 << 20,
			Denial:          "http",
		},
		Store:    Store{Type: "bolt"},
		ExtAuthz: ExtAuthz{Timeout: registry.Duration(500 * time.Millisecond)},
		Sessions: Sessions{Rotate: registry.Duration(24 * time.Hour), Keep: registry.Duration(7 * 24 * time.Hour)},
		Tasks:    Tasks{Max: 100_000, MaxPerPrincipal: 1000, TTL: registry.Duration(24 * time.Hour)},
		Limits:   DefaultLimits(),
		Envoy:    Envoy{LogLevel: "warning"},
		Log:      Log{Level: "info", Format: "text"},
	}
}

// Load reads the file over the defaults, fills in what depends on other
// fields, and validates. An empty path means DefaultFile, which may be absent.
func Load(path string) (Config, error) {
	name := path
	if name == "" {
		name = DefaultFile
	}
	data, err := os.ReadFile(name) //nolint:gosec // the operator names the file
	if errors.Is(err, fs.ErrNotExist) && path == "" {
		data, err = nil, nil
	}
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	c, err := Parse(data)
	if err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", name, err)
	}
	return c, nil
}

// Parse reads the text of a configuration as Load does.
func Parse(data []byte) (Config, error) {
	c := Default()
	if err := read(data, &c); err != nil {
		return Config{}, err
	}
	if err := c.complete(); err != nil {
		return Config{}, err
	}
	return c, c.Validate()
}

// complete fills in the fields whose default depends on others.
func (c *Config) complete() error {
	dir, err := filepath.Abs(c.DataDir)
	if err != nil {
		return fmt.Errorf("dataDir: %w", err)
	}
	c.DataDir = dir
	c.ExternalURL = strings.TrimSuffix(c.ExternalURL, "/")
	for _, d := range []struct {
		field *string
		value string
	}{
		{&c.Store.Bolt.Path, filepath.Join(dir, "registry.db")},
		{&c.XDS.Listen, "unix:" + filepath.Join(dir, "xds.sock")},
		{&c.ExtAuthz.Listen, "unix:" + filepath.Join(dir, "authz.sock")},
		{&c.Web.Listen, "unix:" + filepath.Join(dir, "web.sock")},
		{&c.Admin.Listen, "unix:" + filepath.Join(dir, "admin.sock")},
		{&c.Envoy.AdminListen, "unix:" + filepath.Join(dir, "envoy.sock")},
	} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	u, err := url.Parse(c.ExternalURL)
	if err != nil {
		return nil //nolint:nilerr // Validate reports it with the others
	}
	local := isLoopback(c.Gateway.Listen)
	if len(c.Gateway.Hosts) == 0 && u.Hostname() != "" {
		c.Gateway.Hosts = []string{hostPattern(u.Hostname())}
		if local {
			c.Gateway.Hosts = appendNew(c.Gateway.Hosts, "localhost", "127.0.0.1", "[::1]")
		}
	}
	if len(c.Gateway.AllowedOrigins) == 0 && u.Host != "" {
		c.Gateway.AllowedOrigins = []string{u.Scheme + "://" + u.Host}
		if local {
			// Pages of the same machine, such as the web client of a developer.
			for _, host := range []string{"localhost", "127.0.0.1", "[::1]"} {
				c.Gateway.AllowedOrigins = append(c.Gateway.AllowedOrigins, "http://"+host+":*", "https://"+host+":*")
			}
		}
	}
	return nil
}

// hostPattern is a host name as Envoy compares it: an IPv6 literal in
// brackets.
func hostPattern(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return strings.ToLower(host)
}

func appendNew(list []string, values ...string) []string {
	for _, v := range values {
		seen := false
		for _, have := range list {
			seen = seen || have == v
		}
		if !seen {
			list = append(list, v)
		}
	}
	return list
}

// isLoopback reports whether a host:port is on the loopback interface.
func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
