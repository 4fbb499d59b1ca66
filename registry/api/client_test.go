package api_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/api"
)

// dial is a client of the fixture's API over TLS.
func (f *fixture) dial(token string) *api.Client {
	f.Helper()
	srv := httptest.NewTLSServer(api.Authenticate("secret", f.handler))
	f.Cleanup(srv.Close)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	client := api.NewClient(strings.TrimPrefix(srv.URL, "https://"), token, &tls.Config{RootCAs: pool})
	f.Cleanup(client.Close)
	return client
}

func TestClientErrors(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	client := f.dial("secret")
	ctx := t.Context()
	server := &registry.Server{Name: "weather", Upstream: registry.Upstream{URL: "http://127.0.0.1:9/mcp"}}
	if _, err := client.Get(ctx, server.Key()); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("get of nothing: %v", err)
	}
	absent, first := int64(0), int64(1)
	if _, err := client.Put(ctx, server, api.WriteOptions{Revision: &absent}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(ctx, server, api.WriteOptions{Revision: &absent}); !errors.Is(err, registry.ErrConflict) {
		t.Errorf("put of what is there: %v", err)
	}
	server.Title = "Weather"
	if _, err := client.Put(ctx, server, api.WriteOptions{Revision: &first}); err != nil {
		t.Errorf("put at its revision: %v", err)
	}
	got, err := client.Get(ctx, server.Key())
	if err != nil || got.Meta().Revision != 2 || got.Meta().Generation != 1 {
		t.Errorf("get: %+v %v", got, err)
	}
	server.Upstream.URL = "ftp://x"
	_, err = client.Put(ctx, server, api.WriteOptions{})
	var apiErr *api.Error
	if !errors.Is(err, registry.ErrInvalid) || !errors.As(err, &apiErr) || len(apiErr.Problems) == 0 || !strings.Contains(err.Error(), "server/weather: upstream.url: ") {
		t.Errorf("put of what is invalid: %v", err)
	}
	if _, err := client.Apply(ctx, []byte("kind: Nosuch"), api.WriteOptions{File: "a.yaml"}); err == nil || !strings.Contains(err.Error(), "a.yaml:1") {
		t.Errorf("apply of what is unreadable: %v", err)
	}
	if _, err := f.dial("wrong").Status(ctx); err == nil || errors.Is(err, api.ErrUnreachable) {
		t.Errorf("status with a wrong token: %v", err)
	}
	gone := api.NewClient("unix:/nonexistent/admin.sock", "", nil)
	if _, err := gone.Status(ctx); !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("status of nothing: %v", err)
	}
	var copied bytes.Buffer
	if err := client.Backup(ctx, &copied); err != nil || copied.String() != "copy" {
		t.Errorf("backup: %q %v", copied.String(), err)
	}
}

// List reads all pages.
func TestClientListsEverything(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	client := f.dial("secret")
	var documents strings.Builder
	const n = api.MaxPage + 5
	for i := range n {
		fmt.Fprintf(&documents, "---\nkind: Group\nname: group %04d\nscopes: []\n", i)
	}
	if _, err := client.Apply(t.Context(), []byte(documents.String()), api.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	list, err := client.List(t.Context(), registry.KindGroup)
	if err != nil || len(list) != n {
		t.Errorf("%d groups, want %d: %v", len(list), n, err)
	}
}

// Whatever characters a name has, it is one element of the path.
func TestClientNames(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	client := f.dial("secret")
	ctx := t.Context()
	round := func(t interface {
		Helper()
		Errorf(string, ...any)
	}, name string,
	) {
		t.Helper()
		group := &registry.Group{Name: name, Scopes: []string{}}
		if registry.Validate(group) != nil {
			return
		}
		if _, err := client.Put(ctx, group, api.WriteOptions{}); err != nil {
			t.Errorf("put group %q: %v", name, err)
			return
		}
		got, err := client.Get(ctx, group.Key())
		if err != nil {
			t.Errorf("get group %q: %v", name, err)
			return
		}
		if diff := cmp.Diff(name, got.Key().Name); diff != "" {
			t.Errorf("name (-want +got):\n%s", diff)
		}
		if _, err := client.Delete(ctx, group.Key(), api.WriteOptions{}); err != nil {
			t.Errorf("delete group %q: %v", name, err)
		}
	}
	for _, name := range []string{
		".", "..", "/", "//", "/lob1/users", "a/../b", "../../status", "a//b", "%2F", "%", "a%20b", "a b", "?x=1", "#f", "a;b", "status", "ü", "日本", "a+b", "\\",
	} {
		round(t, name)
	}
	if t.Failed() {
		return
	}
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{".", "/", "..", "%", "2e", "a", "?", "#", " x", ";", ":", "@", "é", "\\", "+", "&"}), 1, 6).Draw(t, "parts")
		round(t, strings.Join(parts, ""))
	})
}
