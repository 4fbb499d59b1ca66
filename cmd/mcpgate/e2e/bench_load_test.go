package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/demo"
)

// callRequest is a tools/call of 2,163 bytes to the server named bench: 15
// headers, of which a token of 635 bytes, and a body of 1,024.
func callRequest(b *testing.B, g *gateway) string {
	b.Helper()
	const frame = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_forecast","arguments":{"text":""}}}`
	body := strings.Replace(frame, `""}}}`, `"`+strings.Repeat("x", 1024-len(frame))+`"}}}`, 1)
	request := func(pad int) string { return benchRequest(g, "bench", body, pad) }
	const size = 2163
	// A token signed anew may be a byte shorter or longer.
	for pad := 1; ; {
		r := request(pad)
		if len(r) == size {
			return r
		}
		pad = max(pad+size-len(r), 1)
	}
}

// benchRequest is a POST to /bench/mcp with a token of about 635 bytes. The
// last header has a value of pad bytes.
func benchRequest(g *gateway, scope, body string, pad int) string {
	const tokenLength = 635
	token := ""
	for n := 150; len(token) < tokenLength; n++ {
		token = g.token("alice", scope, demo.Claims{"pad": strings.Repeat("p", n)})
	}
	return strings.Join([]string{
		"POST /bench/mcp HTTP/1.1",
		"Host: " + g.address,
		"User-Agent: bench/1.0",
		"Accept: application/json, text/event-stream",
		"Accept-Encoding: gzip, deflate",
		"Accept-Language: en",
		"Authorization: Bearer " + token,
		"Cache-Control: no-cache",
		"Content-Type: application/json",
		fmt.Sprintf("Content-Length: %d", len(body)),
		"Mcp-Protocol-Version: 2025-11-25",
		"Pragma: no-cache",
		"Sec-Fetch-Mode: cors",
		"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"X-Client-Version: 1.2.3",
		"Tracestate: " + strings.Repeat("s", pad),
	}, "\r\n") + "\r\n\r\n" + body
}

// to is the request sent to another server.
func to(request, server string) string {
	return strings.Replace(request, "/bench/mcp", "/"+server+"/mcp", 1)
}

// benchConn is a keep-alive connection that costs its user little.
type benchConn struct {
	address string
	c       net.Conn
	r       *bufio.Reader
}

// do sends a request and returns the status of the answer; "" when there was
// none, and then the next request goes over a new connection.
func (k *benchConn) do(request []byte) string {
	if k.c == nil {
		c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(context.Background(), "tcp", k.address)
		if err != nil {
			return ""
		}
		k.c, k.r = c, bufio.NewReaderSize(c, 8<<10)
	}
	if _, err := k.c.Write(request); err != nil {
		k.close()
		return ""
	}
	status, closing, err := skipMessage(k.r)
	if err != nil {
		status = ""
	}
	if err != nil || closing {
		k.close()
	}
	return status
}

func (k *benchConn) close() {
	if k.c != nil {
		_ = k.c.Close()
		k.c = nil
	}
}

// cell is one measurement: how many requests were answered in which time.
type cell struct {
	requests int
	elapsed  time.Duration
	// p50 and p99 are in microseconds.
	p50, p99 float64
	// wrong counts answers that are not 200, and lost connections.
	wrong int
	// cpu is the CPU time of each process asked for, µs per request.
	cpu []float64
}

// rps is the number of requests per second.
func (c cell) rps() float64 { return float64(c.requests) / c.elapsed.Seconds() }

// Times of a cell.
const (
	benchWarmUp   = 250 * time.Millisecond
	benchMeasured = time.Second
)

// measure sends the request over c connections, each waiting for its answer
// before it sends again, and measures after a warm-up. Only what begins and
// ends in the measured time counts.
func measure(address, request string, c int, pids ...int) cell {
	const measuring, over = 1, 2
	var phase atomic.Int32
	var wrong atomic.Int64
	took := make([][]float64, c)
	var wg sync.WaitGroup
	for i := range c {
		took[i] = make([]float64, 0, 1<<15)
		wg.Go(func() {
			k, data := &benchConn{address: address}, []byte(request)
			defer k.close()
			for {
				at := phase.Load()
				if at == over {
					return
				}
				begin := time.Now()
				status := k.do(data)
				if status != "200" {
					wrong.Add(1)
				}
				if at == measuring && phase.Load() == measuring {
					took[i] = append(took[i], float64(time.Since(begin).Nanoseconds())/1e3)
				}
			}
		})
	}
	<-time.After(benchWarmUp)
	before := make([]int64, len(pids))
	for i, pid := range pids {
		before[i] = cpuOf(pid)
	}
	begin := time.Now()
	phase.Store(measuring)
	<-time.After(benchMeasured)
	phase.Store(over)
	out := cell{elapsed: time.Since(begin), cpu: make([]float64, len(pids))}
	for i, pid := range pids {
		out.cpu[i] = float64(cpuOf(pid) - before[i])
	}
	wg.Wait()
	all := slices.Concat(took...)
	slices.Sort(all)
	out.requests, out.wrong = len(all), int(wrong.Load())
	out.p50, out.p99 = quantile(all, 0.5), quantile(all, 0.99)
	for i := range out.cpu {
		out.cpu[i] /= 1e3 * float64(max(len(all), 1))
	}
	return out
}

// quantile of sorted values; 0 of none.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// median of values in any order.
func median(values []float64) float64 {
	return quantile(slices.Sorted(slices.Values(values)), 0.5)
}

// reportRange reports the median of values under unit, and the smallest and
// the largest beside it.
func reportRange(b *testing.B, values []float64, unit string) {
	b.Helper()
	b.ReportMetric(median(values), unit)
	b.ReportMetric(slices.Min(values), unit+"-min")
	b.ReportMetric(slices.Max(values), unit+"-max")
}
