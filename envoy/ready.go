package envoy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"
)

// Pace of asking an Envoy whether it is ready.
const (
	readyTick    = 20 * time.Millisecond
	readyTimeout = time.Second
)

// WaitReady returns when Envoy's admin endpoint says that it is live, which it
// does after the first answer to each kind of dynamic resource, or with the
// error of ctx and what Envoy said last.
func (s *Supervisor) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(readyTick)
	defer tick.Stop()
	for {
		err := s.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for envoy: %w: %w", ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// Ready asks Envoy once; nil means that it is live.
func (s *Supervisor) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	listen := s.AdminListen
	if listen == "" {
		listen = DefaultAdminListen
	}
	network, address := "tcp", listen
	if path, ok := strings.CutPrefix(listen, "unix:"); ok {
		network, address = "unix", path
		if !filepath.IsAbs(path) {
			address = filepath.Join(s.Dir, path)
		}
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://envoy/ready", nil)
	if err != nil {
		return fmt.Errorf("ask envoy: %w", err)
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask envoy: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 256))
	if err != nil {
		return fmt.Errorf("ask envoy: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("envoy is %s", strings.ToLower(strings.TrimSpace(string(body))))
	}
	return nil
}
