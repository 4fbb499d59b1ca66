package check

import (
	"bufio"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mcpgate/mcpgate/extauthz/token"
	"github.com/mcpgate/mcpgate/registry"
)

// The benchmarks compare the service with an empty one: grpc-go, the generated
// codec, a constant allow. Each runs in a process of its own, so that neither
// pays for the client or for the garbage of the other; its CPU time and its
// allocations are what it says of itself.

// benchServer names the service that this process is to be.
const benchServer = "MCPGATE_BENCH_SERVER"

// benchRequest is a tools/call as Envoy sends it: 18 headers, a body of 1 KiB.
func benchRequest(tb testing.TB, bearer string) *authv3.CheckRequest {
	tb.Helper()
	const frame = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_forecast","arguments":{"text":""}}}`
	body := strings.Replace(frame, `""}}}`, `"`+strings.Repeat("x", 1024-len(frame))+`"}}}`, 1)
	r := request("POST", "weather", body, append(as(bearer),
		"user-agent: mcp-client/1.0", "content-length: 1024", "mcp-protocol-version: 2025-11-25", "accept-encoding: gzip, deflate",
		"x-forwarded-for: 192.0.2.7", "x-forwarded-proto: https", "cache-control: no-cache", "accept-language: en")...)
	if n := len(r.GetAttributes().GetRequest().GetHttp().GetHeaderMap().GetHeaders()); n != 17 && n != 18 {
		tb.Fatalf("%d headers", n)
	}
	return r
}

// idp is an issuer with one RSA key.
func idp(tb testing.TB) (issuer, bearer string) {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	enc := base64.RawURLEncoding
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"keys":[{"kty":"RSA","kid":"k1","use":"sig","alg":"RS256","n":%q,"e":%q}]}`,
			enc.EncodeToString(key.N.Bytes()), enc.EncodeToString(big.NewInt(int64(key.E)).Bytes()))
	}))
	tb.Cleanup(srv.Close)
	claims, err := json.Marshal(map[string]any{
		"iss": srv.URL, "sub": "alice-0123456789", "aud": []string{external + "/weather/mcp"}, "client_id": "cli",
		"exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "jti": strings.Repeat("j", 36), "scope": "weather:read",
	})
	if err != nil {
		tb.Fatal(err)
	}
	signed := enc.EncodeToString([]byte(`{"alg":"RS256","typ":"at+jwt","kid":"k1"}`)) + "." + enc.EncodeToString(claims)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		tb.Fatal(err)
	}
	return srv.URL, signed + "." + enc.EncodeToString(sig)
}

// realFixture is a fixture with the real Verifier, and a token for it.
func realFixture(tb testing.TB) (f *fixture, bearer string) {
	tb.Helper()
	issuer, bearer := idp(tb)
	f = newFixture()
	v := token.New(token.Config{Log: f.config.Log})
	tb.Cleanup(v.Close)
	v.SetIssuer(&registry.Issuer{Name: "corp", Issuer: issuer, JWKSURI: issuer + "/jwks"})
	f.config.Tokens = v
	f.config.Audit = nil
	return f, bearer
}

// echo is the empty service.
type echo struct {
	authv3.UnimplementedAuthorizationServer
}

func (echo) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return &authv3.CheckResponse{
		Status: &statuspb.Status{},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
			Headers: options([]pair{{"x-mcpgate-subject", "alice"}}),
		}},
		DynamicMetadata: &structpb.Struct{Fields: map[string]*structpb.Value{
			"route": structpb.NewStringValue("plain:weather@3"), "server": structpb.NewStringValue("weather"),
			"inspect": structpb.NewStringValue("none"), "method": structpb.NewStringValue("tools/call"), "id": structpb.NewStringValue("7"),
		}},
	}, nil
}

// serveBench is the child: it serves until its standard input ends, and answers
// each line of it with its CPU time in ns and its allocations.
func serveBench(tb testing.TB, kind, socket string, in io.Reader, out io.Writer) {
	lis, err := new(net.ListenConfig).Listen(tb.Context(), "unix", socket)
	if err != nil {
		tb.Fatal(err)
	}
	var g *grpc.Server
	bearer := strings.Repeat("t", 700)
	switch kind {
	case "check":
		var f *fixture
		f, bearer = realFixture(tb)
		g = grpc.NewServer(ServerOptions()...)
		New(f.config).Register(g)
	default:
		g = grpc.NewServer(grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(1<<20))
		authv3.RegisterAuthorizationServer(g, echo{})
	}
	go func() { _ = g.Serve(lis) }()
	defer g.Stop()
	if _, err := fmt.Fprintln(out, bearer); err != nil {
		tb.Fatal(err)
	}
	for s := bufio.NewScanner(in); s.Scan(); {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			tb.Fatal(err)
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if _, err := fmt.Fprintln(out, u.Utime.Nano()+u.Stime.Nano(), m.Mallocs); err != nil {
			tb.Fatal(err)
		}
	}
}

// TestBenchServer is not a test but the child process of the benchmarks.
func TestBenchServer(t *testing.T) {
	if kind, socket, ok := strings.Cut(os.Getenv(benchServer), ":"); ok {
		serveBench(t, kind, socket, os.Stdin, os.Stdout)
	}
}

// peer is a running service and a client of it.
type peer struct {
	conn *grpc.ClientConn
	wire []byte
	in   io.Writer
	out  *bufio.Reader
}

// rawCodec sends and receives bytes as they are, so that the client costs
// little.
type rawCodec struct{}

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, _ := v.(*[]byte)
	return mem.BufferSlice{mem.SliceBuffer(*b)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, _ := v.(*[]byte)
	*b = data.Materialize()
	return nil
}

func (rawCodec) Name() string { return proto.Name }

func startPeer(b *testing.B, kind string) *peer {
	b.Helper()
	socket := filepath.Join(b.TempDir(), "s")
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestBenchServer$", "-test.count=1", "-test.timeout=0")
	cmd.Env = append(os.Environ(), benchServer+"="+kind+":"+socket)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cancel(); _ = cmd.Wait() })
	p := &peer{in: in, out: bufio.NewReader(out)}
	bearer, err := p.out.ReadString('\n')
	if err != nil {
		b.Fatalf("the service did not start: %v", err)
	}
	p.wire = marshal(b, benchRequest(b, strings.TrimSpace(bearer)))
	p.conn, err = grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{})),
		grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(1<<20))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.conn.Close() })
	// The first answer must be an allow, or the benchmark measures refusals.
	var first []byte
	if err := p.conn.Invoke(b.Context(), authv3.Authorization_Check_FullMethodName, &p.wire, &first); err != nil {
		b.Fatal(err)
	}
	allowed(b, unmarshalResponse(b, first))
	return p
}

// usage is what the service has used so far.
func (p *peer) usage(b *testing.B) (cpu, mallocs int64) {
	b.Helper()
	if _, err := fmt.Fprintln(p.in); err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Fscan(p.out, &cpu, &mallocs); err != nil {
		b.Fatal(err)
	}
	return cpu, mallocs
}

// inFlight is the number of checks at a time.
const inFlight = 16

// round makes n checks and returns what each cost.
func (p *peer) round(b *testing.B, n int) (cpu, allocs float64) {
	b.Helper()
	cpu0, mallocs0 := p.usage(b)
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range inFlight {
		wg.Go(func() {
			var answer []byte
			for left.Add(-1) >= 0 {
				if err := p.conn.Invoke(b.Context(), authv3.Authorization_Check_FullMethodName, &p.wire, &answer); err != nil || len(answer) < 20 {
					b.Errorf("Check: %d bytes, %v", len(answer), err)
					return
				}
			}
		})
	}
	wg.Wait()
	cpu1, mallocs1 := p.usage(b)
	return float64(cpu1-cpu0) / float64(n) / 1e3, float64(mallocs1-mallocs0) / float64(n)
}

func benchmarkPeer(b *testing.B, kind string) {
	p := startPeer(b, kind)
	p.round(b, 2000)
	b.ResetTimer()
	cpu, allocs := p.round(b, b.N)
	b.ReportMetric(cpu, "cpu-µs/op")
	b.ReportMetric(allocs, "server-allocs/op")
}

// BenchmarkCheck is a warm allow of a tools/call through gRPC over a Unix
// socket: real policies, real Verifier.
func BenchmarkCheck(b *testing.B) { benchmarkPeer(b, "check") }

// BenchmarkEcho is the empty service.
func BenchmarkEcho(b *testing.B) { benchmarkPeer(b, "echo") }

// BenchmarkCheckOverEcho alternates rounds of both; ratio is the median of the
// CPU time of a check in a round by that of an echo in the same round.
func BenchmarkCheckOverEcho(b *testing.B) {
	check, echo := startPeer(b, "check"), startPeer(b, "echo")
	check.round(b, 2000)
	echo.round(b, 2000)
	const rounds = 9
	n := max(b.N/rounds, 1)
	var ratios, cpus, more []float64
	b.ResetTimer()
	for i := range rounds {
		first, second := check, echo
		if i%2 == 1 {
			first, second = echo, check
		}
		c1, a1 := first.round(b, n)
		c2, a2 := second.round(b, n)
		if first == echo {
			c1, a1, c2, a2 = c2, a2, c1, a1
		}
		ratios, cpus, more = append(ratios, c1/c2), append(cpus, c1), append(more, a1-a2)
	}
	median := func(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(median(cpus), "cpu-µs/op")
	b.ReportMetric(median(more), "allocs-over-echo/op")
}

// BenchmarkJudge is the work beside gRPC: decode, judge, encode.
func BenchmarkJudge(b *testing.B) {
	f, bearer := realFixture(b)
	wire := mem.BufferSlice{mem.SliceBuffer(marshal(b, benchRequest(b, bearer)))}
	s, c := New(f.config), newCodec()
	read := func(m any) error { return c.Unmarshal(wire, m) }
	b.ReportAllocs()
	for b.Loop() {
		a, err := s.handle(nil, b.Context(), read, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Marshal(a); err != nil {
			b.Fatal(err)
		}
	}
}
