package envoytest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxAdminBody bounds one answer of the admin endpoint.
const maxAdminBody = 256 << 20

// adminClient talks to the admin endpoint.
type adminClient struct {
	http *http.Client
	base string
}

// newAdminClient is for "unix:PATH" or "host:port". It keeps no connection, so
// that nothing is left when the test ends.
func newAdminClient(address string) adminClient {
	transport := &http.Transport{DisableKeepAlives: true}
	c := adminClient{http: &http.Client{Transport: transport, Timeout: Deadline}, base: "http://" + address}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		c.base = "http://envoy"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
		}
	}
	return c
}

// get returns the body of a 200.
func (c adminClient) get(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return "", err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAdminBody))
	if cerr := res.Body.Close(); err == nil {
		err = cerr
	}
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("envoy admin %s: %s", path, res.Status)
	}
	return string(body), err
}

// Get returns the answer of the admin endpoint to a GET, such as
// "/config_dump", "/clusters" or "/stats?filter=…".
func (e *Envoy) Get(path string) string {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Deadline)
	defer cancel()
	body, err := e.admin.get(ctx, path)
	if err != nil {
		e.t.Fatal(err)
	}
	return body
}

// Counter is the value of a counter or gauge by its full name, 0 when Envoy
// has not made it yet.
func (e *Envoy) Counter(name string) int64 {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Deadline)
	defer cancel()
	n, err := e.counter(ctx, name)
	if err != nil {
		e.t.Fatal(err)
	}
	return n
}

// counter reads one line of the statistics.
func (e *Envoy) counter(ctx context.Context, name string) (int64, error) {
	body, err := e.admin.get(ctx, "/stats")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+": "); ok {
			return strconv.ParseInt(value, 10, 64)
		}
	}
	return 0, nil
}

// WaitCounter waits until a counter is at least n.
func (e *Envoy) WaitCounter(name string, n int64) {
	e.t.Helper()
	e.poll("counter "+name, func(ctx context.Context) bool {
		v, err := e.counter(ctx, name)
		return err == nil && v >= n
	})
}

// WaitReady waits until /ready says LIVE: all static resources, and the first
// answer for every dynamic one, are in use.
func (e *Envoy) WaitReady() {
	e.t.Helper()
	e.poll("readiness", func(ctx context.Context) bool {
		_, err := e.admin.get(ctx, "/ready")
		return err == nil
	})
}

// WaitListener waits until something accepts connections at host:port.
func (e *Envoy) WaitListener(address string) {
	e.t.Helper()
	e.poll("listener on "+address, func(ctx context.Context) bool {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
}
