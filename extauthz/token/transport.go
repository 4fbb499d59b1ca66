package token

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// Bounds of one fetch from an issuer.
const (
	// fetchTimeout bounds everything that one refresh does, however slowly the
	// issuer sends.
	fetchTimeout = 5 * time.Second
	maxDocument  = 1 << 20
	maxHeader    = 64 << 10
)

// fetcher gets documents from issuers.
type fetcher struct {
	outside, loopback *http.Client
}

// newFetcher uses rt for everything, or, when it is nil, transports that look
// at the address they connect to. They stop nothing that rt would connect to.
func newFetcher(rt http.RoundTripper) *fetcher {
	client := func(check func(netip.Addr) error) *http.Client {
		c := &http.Client{
			Transport: rt,
			// A redirect is an answer that is not 200: a key set has one home, and
			// nobody else may say where it is.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		if rt == nil {
			c.Transport = guardedTransport(check)
		}
		return c
	}
	return &fetcher{outside: client(checkOutside), loopback: client(checkLoopback)}
}

func guardedTransport(check func(netip.Addr) error) http.RoundTripper {
	dialer := &net.Dialer{
		Timeout: fetchTimeout,
		// The address is checked when it is connected to, after the name was
		// resolved, so a name that resolves differently the second time gains
		// nothing.
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("check address: %w", err)
			}
			return check(ap.Addr())
		},
	}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    fetchTimeout,
		DisableKeepAlives:      true, // one fetch in minutes
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// get fetches one document. The body is bounded; its Content-Type is not
// looked at, since authorization servers disagree about it.
func (f *fetcher) get(ctx context.Context, raw string, ofLoopback bool) ([]byte, error) {
	u, err := parseURL(raw, ofLoopback)
	if err != nil {
		return nil, err
	}
	client := f.outside
	if isLoopback(u) {
		client = f.loopback
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", u.Redacted(), err)
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	req.Header.Set("User-Agent", "mcpgate")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err //nolint:wrapcheck // a *url.Error, which says all
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: status %d", u.Redacted(), resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", u.Redacted(), err)
	}
	if len(body) > maxDocument {
		return nil, fmt.Errorf("get %s: more than %d bytes", u.Redacted(), maxDocument)
	}
	return body, nil
}

// parseURL reads an absolute URL of an issuer: https, or http to a loopback
// host. Loopback hosts are for issuers that are loopback URLs themselves.
func parseURL(raw string, ofLoopback bool) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read URL: %w", err)
	case u.Host == "" || u.User != nil || u.Opaque != "":
		return nil, fmt.Errorf("URL %s: not an absolute URL without user information", quote(u.Redacted()))
	case isLoopback(u) && !ofLoopback:
		return nil, fmt.Errorf("URL %s: a loopback host, and the issuer is not a loopback URL", quote(raw))
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u):
		return u, nil
	}
	return nil, fmt.Errorf("URL %s: not https", quote(raw))
}

// isLoopback reports whether the host is "localhost" or a loopback address.
func isLoopback(u *url.URL) bool {
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

// checkOutside refuses addresses at which no issuer is: the machine itself,
// its link, the metadata services of clouds. Addresses that carry an IPv4
// address inside are judged by it. Private ranges are allowed.
func checkOutside(a netip.Addr) error {
	a = inner(a.WithZone("").Unmap())
	switch {
	case a.IsLoopback(), a.IsUnspecified(), a.IsMulticast(), a.IsLinkLocalUnicast():
		return fmt.Errorf("address %s is not one of an issuer", a)
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
			return fmt.Errorf("address %s is not one of an issuer", a)
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
