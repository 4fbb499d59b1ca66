package authserver

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
)

// ParseURL reads an absolute URL of an authorization server: https, or http to
// a loopback host. Loopback hosts are accepted only where they can be meant:
// for issuers that are loopback URLs themselves, and for endpoints that the
// operator names one by one.
func ParseURL(raw string, loopback bool) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read URL: %w", err)
	case u.Host == "" || u.User != nil || u.Opaque != "":
		return nil, fmt.Errorf("URL %s: not an absolute URL without user information", quote(u.Redacted()))
	case IsLoopback(u) && !loopback:
		return nil, fmt.Errorf("URL %s: a loopback host, where none is expected", quote(raw))
	case u.Scheme == "https", u.Scheme == "http" && IsLoopback(u):
		return u, nil
	}
	return nil, fmt.Errorf("URL %s: not https", quote(raw))
}

// IsLoopback reports whether the host is "localhost" or a loopback address.
func IsLoopback(u *url.URL) bool {
	host := u.Hostname()
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func checkLoopback(a netip.Addr) error {
	if !a.Unmap().IsLoopback() {
		return errors.New("a loopback name that leads elsewhere")
	}
	return nil
}

// checkOutside refuses addresses at which no authorization server is: the machine itself,
// its link, the metadata services of clouds. Addresses that carry an IPv4
// address inside are judged by it. Private ranges are allowed.
func checkOutside(a netip.Addr) error {
	a = inner(a.WithZone("").Unmap())
	switch {
	case a.IsLoopback(), a.IsUnspecified(), a.IsMulticast(), a.IsLinkLocalUnicast():
		return fmt.Errorf("address %s is not one of an authorization server", a)
	}
	for _, p := range []string{
		"0.0.0.0/8",          // this network
		"240.0.0.0/4",        // reserved, broadcast
		"100.100.100.200/32", // Alibaba Cloud metadata
		"168.63.129.16/32",   // Azure platform
		"192.0.0.0/24",       // protocol assignments, Oracle Cloud metadata
		"fd00:ec2::/32",      // AWS metadata
		"fec0::/10",          // site-local, given up by RFC 3879
		"2001::/32",          // Teredo
	} {
		if netip.MustParsePrefix(p).Contains(a) {
			return fmt.Errorf("address %s is not one of an authorization server", a)
		}
	}
	return nil
}

// inner is the IPv4 address inside a 6to4, NAT64 or IPv4-compatible address,
// or a itself.
func inner(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return a
	}
	b := a.As16()
	switch {
	case netip.MustParsePrefix("2002::/16").Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6]))
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a), netip.MustParsePrefix("::/96").Contains(a) && !a.IsLoopback() && !a.IsUnspecified():
		return netip.AddrFrom4([4]byte(b[12:16]))
	}
	return a
}

// quote shows a text from outside in an error: escaped and short.
func quote(s string) string {
	const limit = 80
	if len(s) > limit {
		return strconv.QuoteToASCII(s[:limit]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
