package ads

import (
	"context"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"
)

// cpu is the processor time that the process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// steady is a loaded server with n streams that have everything.
func steady(b *testing.B, servers, n int) *Server {
	b.Helper()
	s := mustNew(b)
	// The pause is Envoy's relief; here it would only let the caches go cold.
	s.pause = func(int) time.Duration { return 0 }
	mustLoad(b, s, 1, many(servers)...)
	target := serve(b, s)
	ctx, cancel := context.WithCancel(context.Background())
	have := []map[string]string{versions(s, clusters), versions(s, listeners), versions(s, scopes)}
	for i := 0; i < n; i += 10 {
		c := client(b, target)
		for range min(10, n-i) {
			_, got := remote(ctx, b, c, have...)
			go func() {
				for range got {
				}
			}()
		}
	}
	// Last registered, first run: the streams end before anything waits for it.
	b.Cleanup(cancel)
	for rev := int64(2); ; rev++ {
		s.Apply(put(mcp("warm", rev, rev, "/mcp")))
		r, err := s.Wait(context.Background(), rev)
		if err != nil {
			b.Fatal(err)
		}
		if r.Envoys == n {
			return s
		}
	}
}

// One server changes, one Envoy acknowledges. The processor time is that of
// the server and of the client in this process.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{10, 10_000, 100_000} {
		b.Run(fmt.Sprintf("servers=%d", n), func(b *testing.B) {
			s := steady(b, n, 1)
			before := cpu(b)
			rev := int64(1 << 20)
			for b.Loop() {
				rev++
				m := mcp(fmt.Sprintf("m%06d", rev%10), 1, rev, "/mcp")
				m.Upstream.IdleTimeout = 1e9
				m.Upstream.ConnectTimeout = 1e9
				if rev/10%2 == 0 {
					m.Upstream.IdleTimeout, m.Upstream.ConnectTimeout = 2e9, 2e9
				}
				s.Apply(put(m))
				if _, err := s.Wait(context.Background(), rev); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// One server changes and no Envoy is there: what a change costs by itself.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{10, 10_000, 100_000} {
		b.Run(fmt.Sprintf("servers=%d", n), func(b *testing.B) {
			s := mustNew(b)
			mustLoad(b, s, 1, many(n)...)
			b.ReportAllocs()
			rev := int64(1)
			for b.Loop() {
				rev++
				m := mcp(fmt.Sprintf("m%06d", rev%10), 1, rev, "/mcp")
				m.Upstream.IdleTimeout = 1e9
				if rev/10%2 == 0 {
					m.Upstream.IdleTimeout = 2e9
				}
				s.Apply(put(m))
			}
		})
	}
}

// One server changes and every Envoy acknowledges.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("streams=%d", n), func(b *testing.B) {
			s := steady(b, 1000, n)
			before := cpu(b)
			rev := int64(1 << 20)
			for b.Loop() {
				rev++
				m := mcp("m000001", 1, rev, "/mcp")
				m.Upstream.IdleTimeout, m.Upstream.ConnectTimeout = 1e9, 1e9
				if rev%2 == 0 {
					m.Upstream.IdleTimeout, m.Upstream.ConnectTimeout = 2e9, 2e9
				}
				s.Apply(put(m))
				if _, err := s.Wait(context.Background(), rev); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N)/float64(n), "cpu-µs/stream")
		})
	}
}

// A program starts, and an Envoy gets everything, or lists that it has it.
func BenchmarkStart(b *testing.B) {
	const n = 10_000
	list := many(n)
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			mustLoad(b, mustNew(b), 1, list...)
		}
	})
	s := mustNew(b)
	mustLoad(b, s, 1, list...)
	c := client(b, serve(b, s))
	have := []map[string]string{versions(s, clusters), versions(s, listeners), versions(s, scopes)}
	for _, how := range []struct {
		name    string
		initial []map[string]string
	}{{"first sync", nil}, {"reconnect", have}} {
		b.Run(how.name, func(b *testing.B) {
			for b.Loop() {
				ctx, cancel := context.WithCancel(context.Background())
				stream, err := c.DeltaAggregatedResources(ctx)
				if err != nil {
					b.Fatal(err)
				}
				for i, k := range []kind{clusters, listeners, scopes} {
					var initial map[string]string
					if how.initial != nil {
						initial = how.initial[i]
					}
					if err := stream.Send(ask(k, initial)); err != nil {
						b.Fatal(err)
					}
				}
				if how.initial == nil {
					for done := false; !done; {
						r, err := stream.Recv()
						if err != nil {
							b.Fatal(err)
						}
						if err := stream.Send(ack(r)); err != nil {
							b.Fatal(err)
						}
						done = line(r) == "SRDS +healthz"
					}
				} else {
					for s.Connected() == 0 {
						continue
					}
					if _, err := s.Wait(context.Background(), 1); err != nil {
						b.Fatal(err)
					}
				}
				cancel()
				for err == nil {
					_, err = stream.Recv()
				}
				if err == io.EOF { //nolint:errorlint // the stream's own end
					b.Fatal("the server ended the stream")
				}
				for s.Connected() > 0 {
					continue
				}
			}
		})
	}
}
