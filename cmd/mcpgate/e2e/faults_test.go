package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/demo"
	"github.com/mcpgate/mcpgate/envoy/envoytest"
)

// faulty is a gateway whose program can be broken while its Envoy, started by
// hand, lives on: one upstream that counts what reaches it.
type faulty struct {
	*gateway
	program  *process
	upstream *counter
	// token may use the tool; forbidden may not, whatever happens.
	token, forbidden string
}

// counter is an upstream that counts the calls that reach it, and those of a
// caller that may not.
type counter struct{ calls, wrong atomic.Int64 }

// ServeHTTP implements http.Handler.
func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.calls.Add(1)
	if r.Header.Get("X-Mcpgate-Subject") != "alice" {
		c.wrong.Add(1)
	}
	newEcho("a").ServeHTTP(w, r)
}

func startFaulty(t *testing.T, extra string) *faulty {
	t.Helper()
	g := prepare(t)
	g.configure(extra)
	f := &faulty{gateway: g, program: g.spawn("serve"), upstream: &counter{}}
	g.eventually("the program answers", func() bool { return g.run("", "status").code == 0 })
	bootstrap := g.mustRun("", "bootstrap", "--node-id", "by-hand", "--envoy-admin", "unix:"+filepath.Join(g.dir, "hand.sock"))
	envoytest.Start(t, []byte(bootstrap), envoytest.WithDir(g.dir))
	g.eventually("the gateway serves", g.healthy)
	g.applyIssuer()
	g.apply(everything + serverDoc("a", serve(t, f.upstream)))
	f.token, f.forbidden = g.token("alice", "all"), g.token("mallory", "nothing")
	g.want("a", f.token, http.StatusOK)
	return f
}

// broken checks, n times, that nothing is allowed, with the status stated, and
// that no call reached the upstream.
func (f *faulty) broken(n, status int) {
	f.Helper()
	before := f.upstream.calls.Load()
	for range n {
		for _, token := range []string{f.token, f.forbidden, ""} {
			a := f.post("a", token, goodCall)
			if a.status != status || a.header.Get("Retry-After") == "" || !strings.Contains(a.body, `"jsonrpc":"2.0"`) {
				f.Errorf("while broken: %d %v %s, want %d", a.status, a.header, a.body, status)
			}
		}
	}
	if got := f.upstream.calls.Load(); got != before {
		f.Errorf("%d calls reached the upstream while nothing could be decided", got-before)
	}
}

// recovers waits until calls are allowed again and logs how long it took since
// the moment given.
func (f *faulty) recovers(since time.Time) {
	f.Helper()
	f.eventually("calls are allowed again", func() bool {
		if a := f.post("a", f.forbidden, goodCall); a.status == http.StatusOK {
			f.Fatalf("a forbidden call was allowed: %s", a.body)
		}
		return f.post("a", f.token, goodCall).status == http.StatusOK
	})
	f.Logf("allowed again %v after the end of the fault", time.Since(since).Round(time.Millisecond))
	if n := f.upstream.wrong.Load(); n != 0 {
		f.Errorf("%d calls of others reached the upstream", n)
	}
}

// Killed: 503 until the program is there again.
func TestFaultProgramKilled(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, "")
	for range 3 {
		f.program.signal(syscall.SIGKILL)
		f.program.end()
		f.broken(3, http.StatusServiceUnavailable)
		f.program = f.spawn("serve")
		f.eventually("the program answers", func() bool { return f.run("", "status").code == 0 })
		f.recovers(time.Now())
	}
}

// Stopped for five seconds: each call is refused with 503 when Envoy's
// patience is over, a held one is never allowed later, and all goes on when
// the program does.
func TestFaultProgramStopped(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, "")
	f.program.signal(syscall.SIGSTOP)
	f.eventually("all its threads stand still", func() bool { return standsStill(f.program.Process.Pid) })
	until := time.Now().Add(5 * time.Second)
	n := 0
	for time.Now().Before(until) {
		f.broken(1, http.StatusServiceUnavailable)
		n++
	}
	f.Logf("%d rounds while the program stood still", n)
	f.program.signal(syscall.SIGCONT)
	f.recovers(time.Now())
}

// standsStill reports whether every thread of a process is stopped: the signal
// takes its time to reach them all.
func standsStill(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false
	}
	for _, path := range threads { // none where there is no such file system
		stat, err := os.ReadFile(path)
		if _, state, _ := strings.Cut(string(stat), ") "); err != nil || !strings.HasPrefix(state, "T") {
			return false
		}
	}
	return true
}

// A client that opens streams and resets them at once (CVE-2023-44487) on the
// public listener, and one that does so on the socket of the authorization
// service, get nothing and take nothing away from others.
func TestFaultRapidReset(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, "")
	for name, flood := range map[string]struct {
		address string
		fields  []field
	}{
		"public listener": {f.address, []field{
			{":method", "POST"},
			{":scheme", "http"},
			{":authority", f.address},
			{":path", "/a/mcp"},
			{"authorization", "Bearer " + f.forbidden},
			{"content-type", "application/json"},
		}},
		"authorization service": {"unix:" + filepath.Join(f.dir, "data", "authz.sock"), []field{
			{":method", "POST"},
			{":scheme", "http"},
			{":authority", "authz"},
			{":path", "/envoy.service.auth.v3.Authorization/Check"},
			{"content-type", "application/grpc"},
			{"te", "trailers"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			g := f.in(t)
			sent := make(chan int, 1)
			stop := make(chan struct{})
			go func() {
				n := 0
				defer func() { sent <- n }()
				for range 50 {
					n += resetFlood(flood.address, flood.fields, 400)
					select {
					case <-stop:
						return
					default:
					}
				}
			}()
			statuses := map[int]int{}
			for range 50 {
				statuses[g.post("a", f.token, goodCall).status]++
				if a := g.post("a", f.forbidden, goodCall); a.status != http.StatusForbidden && a.status != http.StatusServiceUnavailable {
					t.Errorf("a forbidden call: %d %s", a.status, a.body)
				}
			}
			close(stop)
			t.Logf("%d streams reset; others meanwhile: %v", <-sent, statuses)
			if statuses[http.StatusOK] == 0 || statuses[http.StatusOK]+statuses[http.StatusServiceUnavailable] != 50 {
				t.Errorf("others meanwhile: %v", statuses)
			}
			f.recovers(time.Now())
		})
	}
}

// resetFlood opens up to n streams on one connection and resets each at once;
// it returns how many before the peer ended the connection.
func resetFlood(address string, fields []field, n int) int {
	c, err := dialRaw(address)
	if err != nil {
		return 0
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		return 0
	}
	framer := http2.NewFramer(c, c)
	if err := framer.WriteSettings(); err != nil {
		return 0
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, c)
	}()
	var b strings.Builder
	encoder := hpack.NewEncoder(&b)
	for i := range n {
		b.Reset()
		for _, f := range fields {
			if err := encoder.WriteField(hpack.HeaderField{Name: f.name, Value: f.value}); err != nil {
				return i
			}
		}
		id := uint32(2*i + 1)
		if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte(b.String()), EndHeaders: true}); err != nil {
			return i
		}
		if err := framer.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
			return i
		}
		select {
		case <-gone:
			return i
		default:
		}
	}
	return n
}

// A header block that never ends (CONTINUATION flood, VU#421644) ends the
// connection of who sends it long before it is a burden, on the public
// listener and on the socket of the authorization service.
func TestFaultContinuationFlood(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, "")
	for name, address := range map[string]string{
		"public listener":       f.address,
		"authorization service": "unix:" + filepath.Join(f.dir, "data", "authz.sock"),
	} {
		const most = 4096 // of 16 KiB: 64 MiB
		sent := continuationFlood(address, most)
		t.Logf("%s: the connection ended after %d frames", name, sent)
		if sent == most {
			t.Errorf("%s: %d frames without an end were taken", name, sent)
		}
		f.want("a", f.token, http.StatusOK)
		f.want("a", f.forbidden, http.StatusForbidden)
	}
}

// continuationFlood sends a header block in up to n frames and never its end;
// it returns how many before the peer ended the connection.
func continuationFlood(address string, n int) int {
	c, err := dialRaw(address)
	if err != nil {
		return 0
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		return 0
	}
	framer := http2.NewFramer(c, c)
	if err := framer.WriteSettings(); err != nil {
		return 0
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, c)
	}()
	fragment := block([]field{{"x-note", strings.Repeat("v", 16<<10-16)}})
	if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fragment}); err != nil {
		return 0
	}
	for i := range n {
		if err := framer.WriteContinuation(1, false, fragment); err != nil {
			return i
		}
		select {
		case <-gone:
			return i
		default:
		}
	}
	return n
}

// Clients that send a request and never read its answer hold their own
// connections alone.
func TestFaultSlowReaders(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, "")
	request := "POST /a/mcp HTTP/1.1\r\nHost: " + f.address + "\r\nAuthorization: Bearer " + f.token +
		fmt.Sprintf("\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(goodCall)) + goodCall
	var slow []net.Conn
	var writers sync.WaitGroup
	for range 50 {
		c, err := dialRaw(f.address)
		if err != nil {
			t.Fatal(err)
		}
		if tcp, ok := c.(*net.TCPConn); ok {
			if err := tcp.SetReadBuffer(4 << 10); err != nil {
				t.Error(err)
			}
		}
		slow = append(slow, c)
		writers.Go(func() {
			for range 200 {
				if _, err := io.WriteString(c, request); err != nil {
					return
				}
			}
		})
	}
	for range 20 {
		f.want("a", f.token, http.StatusOK)
		f.want("a", f.forbidden, http.StatusForbidden)
	}
	for _, c := range slow {
		_ = c.Close()
	}
	writers.Wait()
	f.recovers(time.Now())
}

// An issuer that is down when the program starts: its tokens are refused with
// 503, those of others are not concerned, and they are allowed when it is
// there, without a restart.
func TestFaultIssuerDownAtStart(t *testing.T) {
	t.Parallel()
	g := start(t, "")
	late := &switched{}
	late.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	other, err := demo.NewIssuer(serve(t, late))
	if err != nil {
		t.Fatal(err)
	}
	good, err := other.Handler()
	if err != nil {
		t.Fatal(err)
	}
	upstream := &counter{}
	g.apply(everything + serverDoc("a", serve(t, upstream)) +
		fmt.Sprintf("---\nkind: Issuer\nname: other\nissuer: %s\naudiences: [%s]\nkeys: {refresh: 1s, maxStale: 2s}\n", other.URL, g.url))
	token, err := other.Token("alice", g.url, demo.Claims{"scope": "all"})
	if err != nil {
		t.Fatal(err)
	}
	faults := map[string]http.HandlerFunc{
		"500":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"HTML": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>maintenance</html>") },
		"10 MB": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"keys":[`+strings.Repeat(" ", 10<<20)+`]}`)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, g.issuer.URL+r.URL.Path, http.StatusFound)
		},
		"slow": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-time.After(30 * time.Second):
			}
		},
	}
	for name, fault := range faults {
		late.answer(fault)
		g.eventually(name+": the old keys have aged", func() bool {
			return g.post("a", token, goodCall).status == http.StatusServiceUnavailable
		})
		before := upstream.calls.Load()
		for range 5 {
			a := g.post("a", token, goodCall)
			if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
				t.Errorf("%s: %d %v %s", name, a.status, a.header, a.body)
			}
		}
		if n := upstream.calls.Load() - before; n != 0 {
			t.Errorf("%s: %d calls reached the upstream", name, n)
		}
		g.want("a", g.token("alice", "all"), http.StatusOK) // of another issuer
		if m := g.metrics(); m[`issuer_usable{issuer="other"}`] != 0 || m[`issuer_usable{issuer="corp"}`] != 1 {
			t.Errorf("%s: the metrics say usable %v and %v", name, m[`issuer_usable{issuer="other"}`], m[`issuer_usable{issuer="corp"}`])
		}
		late.answer(good.ServeHTTP)
		began := time.Now()
		g.eventually(name+": allowed again", func() bool { return g.post("a", token, goodCall).status == http.StatusOK })
		t.Logf("%s: allowed again %v after the issuer was", name, time.Since(began).Round(time.Millisecond))
	}
}

// switched is a handler that can be replaced while it serves.
type switched struct {
	now atomic.Pointer[http.HandlerFunc]
}

func (s *switched) answer(h http.HandlerFunc) { s.now.Store(&h) }

// ServeHTTP implements http.Handler.
func (s *switched) ServeHTTP(w http.ResponseWriter, r *http.Request) { (*s.now.Load())(w, r) }
