package xds_test

import (
	"bufio"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLiveEveryAnswerHasTheRequestIDOfTheLog(t *testing.T) {
	t.Parallel()
	g := startTwo(t)
	var ids []string
	for _, r := range []reply{
		g.do("POST", "/weather/mcp", plain),
		g.do("POST", "/weather/mcp", inspect),
		g.do("POST", "/weather/mcp", plain, "x-test-status: 401"),
		g.do("POST", "/weather/mcp", "x-test-deny: 403"),
		g.do("POST", "/weather/mcp", "x-test-route: none"),
		g.do("POST", "/nowhere/mcp"),
		g.do("GET", "/healthz"),
	} {
		id := r.Header.Values("X-Request-Id")
		if len(id) != 1 || id[0] == "" {
			t.Errorf("%d %s: request ids %q", r.StatusCode, r.body, id)
			continue
		}
		ids = append(ids, id[0])
	}

	// What is refused before the headers are read has one too.
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("GET /weather/mcp HTTP/1.1\r\nHost: localhost\r\nbad header: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if id := res.Header.Get("X-Request-Id"); res.StatusCode != http.StatusBadRequest || len(id) != 36 {
		t.Errorf("%s: request id %q", res.Status, id)
	}
	if err := res.Body.Close(); err != nil {
		t.Error(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}

	g.envoy.Stop() // which writes the log out
	log, err := os.ReadFile(filepath.Join(g.envoy.Dir, "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if !strings.Contains(string(log), `"request_id":"`+id+`"`) {
			t.Errorf("request id %s of an answer is not in the log:\n%s", id, log)
		}
	}
}
