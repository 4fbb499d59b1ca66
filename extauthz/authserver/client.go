package authserver

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// Bounds of one request.
const (
	// Timeout bounds everything that one request does, however slowly the
	// server sends. Callers set it with their contexts.
	Timeout = 5 * time.Second
	// MaxDocument is the size of the largest document, in bytes.
	MaxDocument = 1 << 20
	// MaxAnswer is the size of the largest answer to a form, in bytes.
	MaxAnswer = 64 << 10
	maxHeader = 64 << 10
	// maxConnections to one server, so that a flood of questions is a queue here
	// and not a load there.
	maxConnections = 32
)

// Client makes requests. It is safe for concurrent use.
type Client struct {
	outside, loopback *http.Client
}

// New returns a Client that uses rt for everything, or, when it is nil,
// transports that look at the address they connect to. They stop nothing that
// rt would connect to.
func New(rt http.RoundTripper) *Client {
	client := func(check func(netip.Addr) error) *http.Client {
		c := &http.Client{
			Transport: rt,
			// A redirect is an answer like any other: an endpoint has one home, and
			// nobody else may say where it is.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		if rt == nil {
			c.Transport = guardedTransport(check)
		}
		return c
	}
	return &Client{outside: client(checkOutside), loopback: client(checkLoopback)}
}

// Close releases idle connections.
func (c *Client) Close() {
	c.outside.CloseIdleConnections()
	c.loopback.CloseIdleConnections()
}

func guardedTransport(check func(netip.Addr) error) *http.Transport {
	dialer := &net.Dialer{
		Timeout: Timeout,
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
		TLSHandshakeTimeout:    Timeout,
		ResponseHeaderTimeout:  Timeout,
		IdleConnTimeout:        30 * time.Second,
		MaxConnsPerHost:        maxConnections,
		MaxIdleConnsPerHost:    maxConnections,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// Get fetches one document. The body is bounded; its Content-Type is not
// looked at, since authorization servers disagree about it. Every status but
// 200 is an error. loopback is that of ParseURL.
func (c *Client) Get(ctx context.Context, raw string, loopback bool) ([]byte, error) {
	u, err := ParseURL(raw, loopback)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", u.Redacted(), err)
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	req.Close = true // one document in minutes
	answer, err := c.do(req, MaxDocument)
	if err != nil {
		return nil, err
	}
	if answer.Status != http.StatusOK {
		return nil, fmt.Errorf("get %s: status %d", u.Redacted(), answer.Status)
	}
	return answer.Body, nil
}

// Answer is what an endpoint said, whatever its status.
type Answer struct {
	Status int
	Body   []byte
}

// Post sends a form to an endpoint and authenticates with HTTP Basic, the id
// and the secret encoded as RFC 6749 section 2.3.1 wants. No error carries
// anything of the form or of the secret.
func (c *Client) Post(ctx context.Context, raw string, form url.Values, clientID, clientSecret string) (Answer, error) {
	u, err := ParseURL(raw, true)
	if err != nil {
		return Answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return Answer{}, fmt.Errorf("post to %s: %w", u.Redacted(), err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(clientID), url.QueryEscape(clientSecret))
	return c.do(req, MaxAnswer)
}

func (c *Client) do(req *http.Request, limit int64) (Answer, error) {
	client := c.outside
	if IsLoopback(req.URL) {
		client = c.loopback
	}
	req.Header.Set("User-Agent", "mcpgate")
	where := strings.ToLower(req.Method) + " " + req.URL.Redacted()
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, err //nolint:wrapcheck // a *url.Error, which says all
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return Answer{}, fmt.Errorf("%s: %w", where, err)
	}
	if int64(len(body)) > limit {
		return Answer{}, fmt.Errorf("%s: more than %d bytes", where, limit)
	}
	return Answer{Status: resp.StatusCode, Body: body}, nil
}
