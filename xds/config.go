package xds

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Defaults and limits of the gateway.
const (
	DefaultMaxRequestBytes = 1 << 20
	DefaultAuthzTimeout    = 500 * time.Millisecond
	DefaultMaxHeaderBytes  = 32 << 10
	DefaultMaxHeaders      = 64
	// DefaultSystemCAFile is where Debian, Ubuntu and Alpine keep the system's
	// certificate authorities.
	DefaultSystemCAFile = "/etc/ssl/certs/ca-certificates.crt"
	// RequestTimeout bounds the time from a request's first byte to the last
	// byte of its body.
	RequestTimeout = 10 * time.Second
	// MaxStreamDuration bounds every stream to an upstream. Deleting a server
	// or revoking a token does not end an open stream; this does.
	MaxStreamDuration = time.Hour
	// authzBodySlack is what ext_authz may hold above the limit of the buffer
	// filter, so that it never sees a truncated body: over HTTP/2 the last
	// frame, at most 16 KiB, may cross a filter's limit.
	authzBodySlack = 64 << 10
	// maxRequestBytesLimit keeps the sum below what gRPC will carry.
	maxRequestBytesLimit = 64 << 20
	// The headers are in the same message.
	maxHeaderBytesLimit = 256 << 10
	maxHeadersLimit     = 1024
)

// Config is what the resources take from the gateway's configuration. A zero
// field means its default.
type Config struct {
	// ExternalURL is the public base URL, without a trailing slash.
	ExternalURL string
	// Listen is the listener's address, host:port; the host is an IP address,
	// "localhost", or empty for every IPv4 address.
	Listen string
	// TLS makes the listener serve TLS with the certificate of SecretName,
	// which Envoy asks for by SDS.
	TLS bool
	// Hosts are the Host names answered, without ports. When empty: that of
	// ExternalURL, and the loopback names when Listen is a loopback address.
	Hosts []string
	// MaxRequestBytes bounds a request's body.
	MaxRequestBytes int
	// MaxHeaderBytes bounds a request's headers in all, in whole KiB;
	// MaxHeaders their number. More of either is a 431.
	MaxHeaderBytes, MaxHeaders int
	// AllowedOrigins are the origins of browser pages that may read answers:
	// "https://app.example", or "http://localhost:*" for every port. When
	// empty: the origin of ExternalURL, and every loopback origin.
	AllowedOrigins []string
	// AuthzTimeout bounds one call of the authorization service.
	AuthzTimeout time.Duration
	// AccessLog is a file path, "-" for standard output, or empty for none.
	AccessLog string
	// SystemCAFile is a bundle of certificate authorities on the machine Envoy
	// runs on, for https upstreams that name none.
	SystemCAFile string
}

// loopbackHosts are the names under which a loopback listener is reached, as
// they stand in a Host header without port.
var loopbackHosts = [...]string{"localhost", "127.0.0.1", "[::1]"}

// maxRequestBytes is the limit in bytes, with its default.
func (c Config) maxRequestBytes() (uint32, error) {
	n := c.MaxRequestBytes
	if n == 0 {
		n = DefaultMaxRequestBytes
	}
	if n < 0 || n > maxRequestBytesLimit {
		return 0, fmt.Errorf("max request bytes %d: not in 1 to %d", n, maxRequestBytesLimit)
	}
	return uint32(n), nil
}

// headerLimits are the limits of a request's headers, with their defaults.
func (c Config) headerLimits() (kib, count uint32, err error) {
	size, n := cmp.Or(c.MaxHeaderBytes, DefaultMaxHeaderBytes), cmp.Or(c.MaxHeaders, DefaultMaxHeaders)
	if size < 1<<10 || size > maxHeaderBytesLimit || size%(1<<10) != 0 {
		return 0, 0, fmt.Errorf("max header bytes %d: not whole KiB in 1 KiB to %d", size, maxHeaderBytesLimit)
	}
	if n < 1 || n > maxHeadersLimit {
		return 0, 0, fmt.Errorf("max headers %d: not in 1 to %d", n, maxHeadersLimit)
	}
	return uint32(size >> 10), uint32(n), nil
}

// authzTimeout is the timeout with its default.
func (c Config) authzTimeout() (time.Duration, error) {
	switch {
	case c.AuthzTimeout == 0:
		return DefaultAuthzTimeout, nil
	// To Envoy a timeout of zero is none at all.
	case c.AuthzTimeout < time.Millisecond || c.AuthzTimeout > time.Minute:
		return 0, fmt.Errorf("authz timeout %s: not in 1ms to 1m", c.AuthzTimeout)
	}
	return c.AuthzTimeout, nil
}

// systemCAFile is the bundle with its default.
func (c Config) systemCAFile() string {
	if c.SystemCAFile == "" {
		return DefaultSystemCAFile
	}
	return c.SystemCAFile
}

// listenAddr is the address of the listener.
func (c Config) listenAddr() (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("listen address %q: not host:port", c.Listen)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("listen address %q: bad port", c.Listen)
	}
	addr := netip.IPv4Unspecified()
	switch host {
	case "":
	case "localhost":
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	default:
		if addr, err = netip.ParseAddr(host); err != nil || addr.Zone() != "" {
			return netip.AddrPort{}, fmt.Errorf("listen address %q: the host is not an IP address", c.Listen)
		}
	}
	return netip.AddrPortFrom(addr, uint16(n)), nil
}

// external is the parsed ExternalURL.
func (c Config) external() (*url.URL, error) {
	u, err := url.Parse(c.ExternalURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("external URL %q: not an http or https URL", c.ExternalURL)
	}
	return u, nil
}

// hosts are the domains of every virtual host: exact names, each once. Exact
// names are what refuses a request with two Host headers, which Envoy joins
// with a comma.
func (c Config) hosts() ([]string, error) {
	list := c.Hosts
	if len(list) == 0 {
		u, err := c.external()
		if err != nil {
			return nil, err
		}
		list = []string{bracketed(u.Hostname())}
		addr, err := c.listenAddr()
		if err != nil {
			return nil, err
		}
		if addr.Addr().IsLoopback() {
			list = append(list, loopbackHosts[:]...)
		}
	}
	out := make([]string, 0, len(list))
	for _, h := range list {
		h = strings.ToLower(bracketed(h))
		if err := checkHost(h); err != nil {
			return nil, err
		}
		if !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out, nil
}

// bracketed is the form in which a host stands in a Host header: an IPv6
// address in brackets.
func bracketed(host string) string {
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		return "[" + host + "]"
	}
	return host
}

// checkHost refuses what is not one exact host name without port.
func checkHost(h string) error {
	if in, ok := strings.CutPrefix(h, "["); ok {
		a, err := netip.ParseAddr(strings.TrimSuffix(in, "]"))
		if err != nil || a.Zone() != "" || !strings.HasSuffix(in, "]") {
			return fmt.Errorf("host %q: not an IPv6 address in brackets", h)
		}
		return nil
	}
	if h == "" || !httpguts.ValidHostHeader(h) || strings.ContainsAny(h, "*,:/@%[]?#") {
		return fmt.Errorf("host %q: not a host name without port", h)
	}
	return nil
}

// origins are the allowed origins with their default.
func (c Config) origins() ([]string, error) {
	list := c.AllowedOrigins
	if len(list) == 0 {
		u, err := c.external()
		if err != nil {
			return nil, err
		}
		list = []string{strings.ToLower(u.Scheme + "://" + u.Host)}
		for _, h := range loopbackHosts {
			list = append(list, "http://"+h+":*", "https://"+h+":*")
		}
	}
	for _, o := range list {
		if err := checkOrigin(o); err != nil {
			return nil, err
		}
	}
	return list, nil
}

var errOrigin = errors.New("not an origin such as https://app.example")

// checkOrigin refuses what is not scheme://host[:port], as a browser writes
// it, or scheme://host:*.
func checkOrigin(o string) error {
	u, err := url.Parse(strings.TrimSuffix(o, ":*"))
	if err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != strings.TrimSuffix(o, ":*") ||
		strings.ContainsAny(o[len(u.Scheme):], "%,") || strings.Contains(u.Host, "*") || (strings.HasSuffix(o, ":*") && u.Port() != "") {
		return fmt.Errorf("allowed origin %q: %w", o, errOrigin)
	}
	return nil
}
