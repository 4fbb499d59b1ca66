package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxSocketPath is the longest path of a Unix socket that every supported
// system accepts (sockaddr_un.sun_path, less the suffix of the temporary name
// under which a socket is bound).
const maxSocketPath = 92

// Validate reports every problem, each with its field path, joined.
func (c Config) Validate() error {
	var errs []error
	add := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
	}
	c.validateGateway(add)
	switch {
	case c.Store.Type != "bolt":
		add("store.type", "%q is not a store; use bolt", c.Store.Type)
	case !filepath.IsAbs(c.Store.Bolt.Path):
		add("store.bolt.path", "%q is not an absolute path", c.Store.Bolt.Path)
	}
	for field, e := range map[string]Endpoint{"xds": c.XDS, "extAuthz": c.ExtAuthz.Endpoint, "web": c.Web} {
		e.validate(field, add)
	}
	if t := time.Duration(c.ExtAuthz.Timeout); t < 10*time.Millisecond || t > 10*time.Second {
		add("extAuthz.timeout", "%s is not between 10ms and 10s", t)
	}
	c.Admin.validate(add)
	if r := time.Duration(c.Sessions.Rotate); r < time.Minute {
		add("sessions.rotate", "%s is less than 1m", r)
	}
	if c.Sessions.Keep < c.Sessions.Rotate {
		add("sessions.keep", "%s is less than sessions.rotate", time.Duration(c.Sessions.Keep))
	}
	c.Tasks.validate(add)
	c.Limits.validate(add)
	if c.Envoy.Concurrency < 0 || c.Envoy.Concurrency > 1024 {
		add("envoy.concurrency", "%d is not between 0 and 1024", c.Envoy.Concurrency)
	}
	if strings.HasPrefix(c.Envoy.AdminListen, "unix:") {
		checkSocket("envoy.adminListen", c.Envoy.AdminListen, add)
	} else if checkHostPort("envoy.adminListen", c.Envoy.AdminListen, add); !isLoopback(c.Envoy.AdminListen) {
		add("envoy.adminListen", "%q is neither a Unix socket nor a loopback address: Envoy's admin interface has no access control", c.Envoy.AdminListen)
	}
	taken := make(map[string]string)
	for _, l := range [][2]string{
		{"gateway.listen", c.Gateway.Listen},
		{"xds.listen", c.XDS.Listen},
		{"extAuthz.listen", c.ExtAuthz.Listen},
		{"web.listen", c.Web.Listen},
		{"admin.listen", c.Admin.Listen},
		{"envoy.adminListen", c.Envoy.AdminListen},
	} {
		if other, ok := taken[l[1]]; ok {
			add(l[0], "is the address of %s as well", other)
		}
		taken[l[1]] = l[0]
	}
	oneOf(add, "envoy.logLevel", c.Envoy.LogLevel, "trace", "debug", "info", "warning", "error", "critical", "off")
	oneOf(add, "log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf(add, "log.format", c.Log.Format, "text", "json")
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

type addFunc func(field, format string, args ...any)

func (c Config) validateGateway(add addFunc) {
	u, err := url.Parse(c.ExternalURL)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		add("externalURL", "%q is not an http or https URL", c.ExternalURL)
	case u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil || strings.Contains(c.ExternalURL, "#"):
		add("externalURL", "%q must be an origin: no path, query, fragment or user", c.ExternalURL)
	}
	g := c.Gateway
	checkHostPort("gateway.listen", g.Listen, add)
	checkPair("gateway.tls", g.TLS, add)
	if len(g.Hosts) == 0 {
		add("gateway.hosts", "at least one host name is needed")
	}
	for i, h := range g.Hosts {
		if h == "" || strings.ContainsAny(h, "*/ \t") || strings.Contains(h, ":") && !strings.HasPrefix(h, "[") {
			add(fmt.Sprintf("gateway.hosts[%d]", i), "%q is not a host name without a port", h)
		}
	}
	for i, o := range g.AllowedOrigins {
		base, anyPort := strings.CutSuffix(o, ":*")
		if u, err := url.Parse(base); err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != base || strings.Contains(u.Host, "*") || anyPort && u.Port() != "" {
			add(fmt.Sprintf("gateway.allowedOrigins[%d]", i), "%q is not an origin such as https://app.example or http://localhost:*", o)
		}
	}
	if g.MaxRequestBytes < 1<<10 || g.MaxRequestBytes > 16<<20 {
		add("gateway.maxRequestBytes", "%d is not between 1KiB and 16MiB", g.MaxRequestBytes)
	}
	oneOf(add, "gateway.denial", g.Denial, "http", "jsonrpc")
}

func (e Endpoint) validate(field string, add addFunc) {
	if strings.HasPrefix(e.Listen, "unix:") {
		checkSocket(field+".listen", e.Listen, add)
		return
	}
	checkHostPort(field+".listen", e.Listen, add)
	set := 0
	for _, f := range []string{e.TLS.CertFile, e.TLS.KeyFile, e.TLS.ClientCAFile} {
		if f != "" {
			set++
		}
	}
	switch {
	case set == 3:
	case set > 0:
		add(field+".tls", "certFile, keyFile and clientCAFile are needed together")
	case !e.Insecure:
		add(field+".tls", "a network address needs certFile, keyFile and clientCAFile (or `insecure: true`)")
	}
}

func (a Admin) validate(add addFunc) {
	// The value may be the secret itself, and is not repeated.
	if t := string(a.Token); t != "" && !strings.HasPrefix(t, "env:") && !strings.HasPrefix(t, "file:/") {
		add("admin.token", "must be a reference: env:NAME or file:/path")
	}
	if strings.HasPrefix(a.Listen, "unix:") {
		checkSocket("admin.listen", a.Listen, add)
		return
	}
	checkHostPort("admin.listen", a.Listen, add)
	checkPair("admin.tls", a.TLS, add)
	if a.TLS.CertFile == "" && !a.Insecure {
		add("admin.tls", "a network address needs certFile and keyFile (or `insecure: true`)")
	}
	if a.Token == "" {
		add("admin.token", "a network address needs a token, such as env:MCPGATE_ADMIN_TOKEN")
	}
}

func checkPair(field string, t CertTLS, add addFunc) {
	if (t.CertFile == "") != (t.KeyFile == "") {
		add(field, "certFile and keyFile are needed together")
	}
}

func checkSocket(field, listen string, add addFunc) {
	path := strings.TrimPrefix(listen, "unix:")
	switch {
	case !filepath.IsAbs(path):
		add(field, "%q is not an absolute path", path)
	case len(path) > maxSocketPath:
		add(field, "%q is longer than %d bytes, the most a Unix socket can have; set a shorter dataDir", path, maxSocketPath)
	}
}

func checkHostPort(field, listen string, add addFunc) {
	host, port, err := net.SplitHostPort(listen)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || n == 0 || host == "" || net.ParseIP(host) == nil && host != "localhost" {
		add(field, "%q is not an IP address and a port, such as 127.0.0.1:8080", listen)
	}
}

func oneOf(add addFunc, field, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		add(field, "%q is not one of %s", value, strings.Join(allowed, ", "))
	}
}
