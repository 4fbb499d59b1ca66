package conformance_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/command"
	"github.com/mcpgate/mcpgate/envoy/envoytest"
)

// gateway is a running `mcpgate up`.
type gateway struct {
	testing.TB
	// url is the public origin.
	url    string
	config string
	logs   *buffer
}

// startGateway runs `mcpgate up` until the test ends, and returns when it
// serves. Its registry is empty.
func startGateway(t testing.TB) *gateway {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t))
	dir := envoytest.Dir(t)
	g := &gateway{TB: t, url: "http://" + address, config: filepath.Join(dir, "mcpgate.yaml"), logs: &buffer{}}
	config := fmt.Sprintf("dataDir: %s/data\nexternalURL: %s\ngateway:\n  listen: %s\n", dir, g.url, address)
	if err := os.WriteFile(g.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}

	// Not the test's context: that ends before the cleanups run.
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() {
		ended <- command.Main(ctx, []string{"up", "--config", g.config}, strings.NewReader(""), g.logs, g.logs)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case code := <-ended:
			if code != 0 {
				t.Errorf("mcpgate up ended with %d", code)
			}
		case <-time.After(patience):
			t.Error("mcpgate up did not stop")
		}
		if t.Failed() {
			t.Logf("log of the gateway:\n%s", g.logs)
		}
	})
	eventually(t, "the gateway serves", func() bool {
		select {
		case code := <-ended:
			ended <- code
			t.Fatalf("mcpgate up ended with %d", code)
		default:
		}
		return answers(t, g.url+"/healthz", http.StatusOK)
	})
	return g
}

// apply writes documents into the registry and waits until Envoy has them.
func (g *gateway) apply(documents string) {
	g.Helper()
	var out bytes.Buffer
	code := command.Main(context.Background(), []string{"apply", "-f", "-", "--config", g.config}, strings.NewReader(documents), &out, &out)
	if code != 0 {
		g.Fatalf("mcpgate apply: exit %d\n%s", code, &out)
	}
}

// answers tells whether a GET is answered, with this status unless it is 0.
func answers(t testing.TB, url string, status int) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return status == 0 || resp.StatusCode == status
}
