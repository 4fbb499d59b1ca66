package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/command"
)

// The benchmarks run the gateway, the empty service that it is compared with
// and the upstream in processes of their own, so that what each costs can be
// told apart, and none pays for the garbage of another.

const (
	// benchChildEnv holds the arguments of a child as a JSON array: what it is
	// to be, and what that needs.
	benchChildEnv = "MCPGATE_BENCH_CHILD"
	// benchProfileEnv names a directory for a CPU profile of each child.
	benchProfileEnv = "MCPGATE_BENCH_PROFILE"
)

// TestBenchChild is not a test but the child processes of the benchmarks.
func TestBenchChild(t *testing.T) {
	env := os.Getenv(benchChildEnv)
	if env == "" {
		return
	}
	var args []string
	if err := json.Unmarshal([]byte(env), &args); err != nil {
		t.Fatal(err)
	}
	// A child ends when its parent does.
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	switch args[0] {
	case "program":
		if code := command.Main(ctx, args[1:], strings.NewReader(""), os.Stderr, os.Stderr); code != 0 {
			t.Fatalf("mcpgate %s: exit %d", strings.Join(args[1:], " "), code)
		}
	case "empty":
		serveEmpty(ctx, t, args[1], args[2])
	case "upstream":
		serveUpstream(ctx, t)
	}
}

// benchChild is a running child process.
type benchChild struct {
	pid int
	out *bufio.Reader
	log *buffer
}

// startChild runs this binary as a child that lives as long as the benchmark.
func startChild(b *testing.B, args ...string) *benchChild {
	b.Helper()
	env, err := json.Marshal(args)
	if err != nil {
		b.Fatal(err)
	}
	// -test.bench keeps the benchmarks of the child from this one's.
	flags := []string{"-test.run=^TestBenchChild$", "-test.bench=^$", "-test.count=1", "-test.timeout=0"}
	if dir := os.Getenv(benchProfileEnv); dir != "" {
		f, err := os.CreateTemp(dir, b.Name()+"-"+args[0]+"-*.prof")
		if err != nil {
			b.Fatal(err)
		}
		flags = append(flags, "-test.cpuprofile="+f.Name())
		_ = f.Close()
	}
	cmd := exec.Command(os.Args[0], flags...)
	cmd.Env = append(os.Environ(), benchChildEnv+"="+string(env))
	c := &benchChild{log: &buffer{}}
	cmd.Stderr = c.log
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
	c.pid, c.out = cmd.Process.Pid, bufio.NewReader(out)
	b.Cleanup(func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, c.out)
		if err := cmd.Wait(); err != nil {
			b.Errorf("child %v: %v", args, err)
		}
		if b.Failed() {
			b.Logf("log of %v:\n%s", args, c.log)
		}
	})
	return c
}

// line is the next line that the child says.
func (c *benchChild) line(b *testing.B) string {
	b.Helper()
	s, err := c.out.ReadString('\n')
	if err != nil {
		b.Fatalf("child: %v\n%s", err, c.log)
	}
	return strings.TrimSpace(s)
}

// cpuOf is the CPU time of all threads of a process so far, in nanoseconds; 0
// where there is no /proc.
func cpuOf(pid int) int64 {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0
	}
	var sum int64
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // a thread that has just ended
		}
		run, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(run, 10, 64)
		if err != nil {
			return 0
		}
		sum += n
	}
	return sum
}

// rssOf is the largest resident size of a process so far, in MB; 0 where there
// is no /proc.
func rssOf(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(text, []byte("VmHWM:"))
	var kb float64
	if _, err := fmt.Sscan(string(rest), &kb); err != nil {
		return 0
	}
	return kb / 1024
}

// serveEmpty is an ext_authz service that allows everything without looking:
// grpc-go, the generated codec, and the windows that spare a PING for each
// check. Its answer has what the gateway's has, and moves a request to route.
func serveEmpty(ctx context.Context, t *testing.T, socket, route string) {
	l, err := new(net.ListenConfig).Listen(ctx, "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(1<<20))
	authv3.RegisterAuthorizationServer(s, emptyService{route: route})
	go func() { _ = s.Serve(l) }()
	_, _ = fmt.Fprintln(os.Stdout, "ready")
	<-ctx.Done()
	s.Stop()
}

type emptyService struct {
	authv3.UnimplementedAuthorizationServer
	route string
}

// Check implements the service.
func (e emptyService) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return &authv3.CheckResponse{
		Status: &statuspb.Status{},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
			Headers: []*corev3.HeaderValueOption{{
				Header:       &corev3.HeaderValue{Key: "x-mcpgate-subject", Value: "alice"},
				AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
			}},
		}},
		DynamicMetadata: &structpb.Struct{Fields: map[string]*structpb.Value{
			"route": structpb.NewStringValue(e.route), "server": structpb.NewStringValue("bench"), "inspect": structpb.NewStringValue("none"),
			"method": structpb.NewStringValue("tools/call"), "id": structpb.NewStringValue("1"),
		}},
	}, nil
}

// callReply is a reply of 200 bytes to a tools/call.
func callReply() string {
	const frame = `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":""}]}}`
	return strings.Replace(frame, `""`, `"`+strings.Repeat("x", 200-len(frame))+`"`, 1)
}

// listPath is the upstream's path that answers with a tools/list of 60 KB.
const listPath = "/list"

// listReply is a tools/list reply of 100 tools, every second of which is named
// hidden_….
func listReply() string {
	var tools []string
	for i := range 100 {
		word := []string{"seen", "hidden"}[i%2]
		tools = append(tools, fmt.Sprintf(`{"name":"%s_%d","title":"Tool number %d","description":"%s","inputSchema":{"type":"object","properties":{`+
			`"place":{"type":"string","description":"The place to look up, as \"city, country\""},"days":{"type":"integer","minimum":1,"maximum":14},`+
			`"units":{"type":"string","enum":["metric","imperial"],"default":"metric"}},"required":["place"],"additionalProperties":false},`+
			`"annotations":{"readOnlyHint":true,"openWorldHint":false}}`, word, i, i, strings.Repeat("Does one thing well. ", 8)))
	}
	return `{"jsonrpc":"2.0","id":1,"result":{"tools":[` + strings.Join(tools, ",") + `]}}`
}

func asResponse(body string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s", len(body), body)
}

// serveUpstream is the cheapest HTTP/1.1 server that Envoy takes for one. It
// listens on two ports, so that a server can move from one to the other.
func serveUpstream(ctx context.Context, t *testing.T) {
	call, list := asResponse(callReply()), asResponse(listReply())
	for range 2 {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintln(os.Stdout, l.Addr())
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go answerAll(c, call, list)
			}
		}()
	}
	<-ctx.Done()
}

// answerAll answers every request of a connection.
func answerAll(c net.Conn, call, list []byte) {
	defer func() { _ = c.Close() }()
	r := bufio.NewReaderSize(c, 16<<10)
	for {
		path, _, err := skipMessage(r)
		if err != nil {
			return
		}
		reply := call
		if path == listPath {
			reply = list
		}
		if _, err := c.Write(reply); err != nil {
			return
		}
	}
}

// skipMessage reads an HTTP/1.1 message. It returns the second word of the
// first line, which is the path of a request and the status of a response, and
// whether the peer will close.
func skipMessage(r *bufio.Reader) (second string, closing bool, err error) {
	length, chunked := 0, false
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return "", false, err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case first:
			_, rest, _ := bytes.Cut(line, []byte(" "))
			word, _, _ := bytes.Cut(rest, []byte(" "))
			second = string(word)
		case len(line) == 0 && chunked:
			return second, closing, skipChunks(r)
		case len(line) == 0:
			_, err := r.Discard(length)
			return second, closing, err
		case hasFold(line, "content-length:"):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len("content-length:"):]))); err != nil {
				return "", false, err
			}
		case hasFold(line, "transfer-encoding: chunked"):
			chunked = true
		case hasFold(line, "connection: close"):
			closing = true
		}
	}
}

// skipChunks reads a chunked body without trailers.
func skipChunks(r *bufio.Reader) error {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 31)
		if err != nil {
			return err
		}
		if _, err := r.Discard(int(size) + len("\r\n")); err != nil || size == 0 {
			return err
		}
	}
}

func hasFold(line []byte, prefix string) bool {
	return len(line) >= len(prefix) && bytes.EqualFold(line[:len(prefix)], []byte(prefix))
}
