package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mcpgate/mcpgate/registry"
)

// Client speaks to the API of a running gateway.
type Client struct {
	http  *http.Client
	base  string
	token string
	addr  string
}

// WriteOptions refine a write.
type WriteOptions struct {
	// Wait for connected Envoys this long; 0 means not at all.
	Wait   time.Duration
	Prune  bool
	DryRun bool
	// Revision that the resource must have, if not nil; 0: must not exist.
	Revision *int64
	// File is the name of the input, for messages.
	File string
}

// NewClient returns a client of the API at address: "unix:/path", "host:port"
// (with TLS and a token), or "http://host:port" of an endpoint that is
// explicitly insecure. It does not connect.
func NewClient(address, token string, tlsConfig *tls.Config) *Client {
	c := &Client{addr: address, token: token, base: "https://" + address}
	transport := &http.Transport{TLSClientConfig: tlsConfig, DisableCompression: true}
	if strings.HasPrefix(address, "http://") {
		c.base = address
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		c.base = "http://mcpgate"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}
	}
	c.http = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// Close releases the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ErrUnreachable is returned when no gateway answers at the address.
var ErrUnreachable = errors.New("no gateway answers")

// Get returns one resource, or an error that is registry.ErrNotFound.
func (c *Client) Get(ctx context.Context, key registry.Key) (registry.Resource, error) {
	b, err := c.do(ctx, http.MethodGet, keyPath(key), nil, nil, nil)
	if err != nil {
		return nil, err
	}
	return registry.Decode(b)
}

// List returns all resources of a kind, page by page.
func (c *Client) List(ctx context.Context, kind registry.Kind) ([]registry.Resource, error) {
	var all []registry.Resource
	query := url.Values{}
	for {
		b, err := c.do(ctx, http.MethodGet, "/api/v1/"+kind.Plural(), query, nil, nil)
		if err != nil {
			return nil, err
		}
		var page ListAnswer
		if err := json.Unmarshal(b, &page); err != nil {
			return nil, fmt.Errorf("read list: %w", err)
		}
		for _, item := range page.Items {
			res, err := registry.Decode(item)
			if err != nil {
				return nil, err
			}
			all = append(all, res)
		}
		if page.Next == "" {
			return all, nil
		}
		query.Set("after", page.Next)
	}
}

// Apply sends documents as one transaction.
func (c *Client) Apply(ctx context.Context, documents []byte, opt WriteOptions) (WriteAnswer, error) {
	return c.write(ctx, http.MethodPost, "/api/v1/apply", documents, opt)
}

// Put creates or replaces one resource.
func (c *Client) Put(ctx context.Context, res registry.Resource, opt WriteOptions) (WriteAnswer, error) {
	b, err := registry.Encode(res)
	if err != nil {
		return WriteAnswer{}, err
	}
	return c.write(ctx, http.MethodPut, keyPath(res.Key()), b, opt)
}

// Delete removes one resource.
func (c *Client) Delete(ctx context.Context, key registry.Key, opt WriteOptions) (WriteAnswer, error) {
	return c.write(ctx, http.MethodDelete, keyPath(key), nil, opt)
}

// Explain asks for a decision; the answer is the program's JSON.
func (c *Client) Explain(ctx context.Context, req ExplainRequest) (json.RawMessage, error) {
	b, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return c.do(ctx, http.MethodPost, "/api/v1/explain", nil, nil, b)
}

// Status returns the program's state as JSON.
func (c *Client) Status(ctx context.Context) (json.RawMessage, error) {
	return c.do(ctx, http.MethodGet, "/api/v1/status", nil, nil, nil)
}

// Text returns what a path that answers text or bytes says: export, xds.
func (c *Client) Text(ctx context.Context, path string) ([]byte, error) {
	return c.do(ctx, http.MethodGet, "/api/v1/"+path, nil, nil, nil)
}

// Backup copies the store's file to w.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	resp, err := c.send(ctx, http.MethodGet, "/api/v1/backup", nil, nil, nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

func (c *Client) write(ctx context.Context, method, path string, body []byte, opt WriteOptions) (WriteAnswer, error) {
	query := url.Values{}
	if opt.Wait > 0 {
		query.Set("wait", opt.Wait.String())
	}
	if opt.Prune {
		query.Set("prune", "true")
	}
	if opt.DryRun {
		query.Set("dryRun", "true")
	}
	if opt.File != "" {
		query.Set("file", opt.File)
	}
	header := http.Header{}
	switch {
	case opt.Revision == nil:
	case *opt.Revision == 0:
		header.Set("If-None-Match", "*")
	default:
		header.Set("If-Match", etag(*opt.Revision))
	}
	b, err := c.do(ctx, method, path, query, header, body)
	if err != nil {
		return WriteAnswer{}, err
	}
	var answer WriteAnswer
	if err := json.Unmarshal(b, &answer); err != nil {
		return WriteAnswer{}, fmt.Errorf("read answer: %w", err)
	}
	return answer, nil
}

func (c *Client) do(ctx context.Context, method, path string, query url.Values, header http.Header, body []byte) ([]byte, error) {
	resp, err := c.send(ctx, method, path, query, header, body)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return b, nil
}

// send returns the response of a success; its body is the caller's to close.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, header http.Header, body []byte) (*http.Response, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	maps.Copy(req.Header, header)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return nil, fmt.Errorf("%w at %s: %w", ErrUnreachable, c.addr, op.Err)
		}
		return nil, fmt.Errorf("ask the gateway at %s: %w", c.addr, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close() //nolint:errcheck // an error answer is read as far as it goes
	apiErr := &Error{}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil || json.Unmarshal(b, apiErr) != nil || apiErr.Message == "" {
		apiErr.Message = "the gateway answered " + strconv.Itoa(resp.StatusCode)
	}
	apiErr.Status = resp.StatusCode
	return nil, apiErr
}

func keyPath(key registry.Key) string {
	// Dots are escaped as well: an element "." or ".." would be cleaned away.
	return "/api/v1/" + key.Kind.Plural() + "/" + strings.ReplaceAll(url.PathEscape(key.Name), ".", "%2E")
}
