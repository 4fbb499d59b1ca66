//go:build linux

package boltstore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/boltstore"
)

// benchServer is of the size of an ordinary server: some 420 bytes encoded.
func benchServer(i, version int) *registry.Server {
	return &registry.Server{
		Name: fmt.Sprintf("server-%06d", i), Title: fmt.Sprintf("Server number %d", i), Description: fmt.Sprintf("Version %d of something that is described in one sentence.", version),
		Tags: []string{"public", "eu"},
		Upstream: registry.Upstream{
			URL:        fmt.Sprintf("https://server-%06d.internal:8443/api/mcp", i),
			Credential: &registry.Credential{Scheme: "Bearer", Secret: "env:UPSTREAM_TOKEN"},
		},
		Access: registry.Access{Issuers: []string{"corp"}, BaselineScopes: []string{"servers:read"}},
	}
}

func fillServers(b *testing.B, s registry.Store, n int) {
	b.Helper()
	for from := 0; from < n; from += 10_000 {
		_, err := s.Update(context.Background(), func(tx registry.Tx) error {
			for i := from; i < min(from+10_000, n); i++ {
				if err := tx.Put(benchServer(i, 0)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// percentiles reports the median and the 99th percentile of the durations.
func percentiles(b *testing.B, name string, d []time.Duration) {
	b.Helper()
	slices.Sort(d)
	b.ReportMetric(float64(d[len(d)/2].Microseconds()), name+"p50-µs")
	b.ReportMetric(float64(d[len(d)*99/100].Microseconds()), name+"p99-µs")
}

// BenchmarkPut is one durable write at a time, each beside two raw syncs of a
// page in the same minute: "ratio" is the quotient of the medians.
func BenchmarkPut(b *testing.B) {
	for _, n := range []int{10, 10_000, 100_000} {
		b.Run(fmt.Sprintf("servers=%d", n), func(b *testing.B) {
			s, path := open(b, boltstore.Options{})
			fillServers(b, s, n)
			raw, err := os.Create(filepath.Join(filepath.Dir(path), "raw"))
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = raw.Close() }()
			page := make([]byte, 4096)
			rawWrite := func(i int) {
				if _, err := raw.WriteAt(page, int64(i%2)*4096); err != nil {
					b.Fatal(err)
				}
				if err := syscall.Fdatasync(int(raw.Fd())); err != nil {
					b.Fatal(err)
				}
			}
			rawWrite(0)
			rawWrite(1)
			var puts, raws []time.Duration
			for i := 1; b.Loop(); i++ {
				start := time.Now()
				rawWrite(0)
				rawWrite(1)
				raws = append(raws, time.Since(start))
				start = time.Now()
				put(b, s, benchServer(i*7919%n, i))
				puts = append(puts, time.Since(start))
			}
			percentiles(b, "", puts)
			percentiles(b, "raw-", raws)
			b.ReportMetric(float64(puts[len(puts)/2])/float64(raws[len(raws)/2]), "ratio")
		})
	}
}

// BenchmarkWriters is 64 writers at once, each waiting for its own write.
func BenchmarkWriters(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		b.Run(fmt.Sprintf("servers=%d", n), func(b *testing.B) {
			const writers = 64
			s, _ := open(b, boltstore.Options{})
			fillServers(b, s, n)
			var next atomic.Int64
			durations := make([][]time.Duration, writers)
			b.ResetTimer()
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for {
						i := int(next.Add(1))
						if i > b.N {
							return
						}
						start := time.Now()
						put(b, s, benchServer(i*7919%n, i))
						durations[w] = append(durations[w], time.Since(start))
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			percentiles(b, "", slices.Concat(durations...))
		})
	}
}

// BenchmarkImport writes 100,000 servers through Apply, in ten batches.
func BenchmarkImport(b *testing.B) {
	for b.Loop() {
		s, _ := open(b, boltstore.Options{})
		for from := 0; from < 100_000; from += 10_000 {
			batch := registry.Batch{Writes: []registry.Write{{Resource: &registry.Issuer{Name: "corp", Issuer: "https://i"}}, {Resource: &registry.Scope{Name: "servers:read"}}}}
			for i := from; i < from+10_000; i++ {
				batch.Writes = append(batch.Writes, registry.Write{Resource: benchServer(i, 0)})
			}
			if _, err := registry.Apply(b.Context(), s, batch); err != nil {
				b.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens 100,000 servers, and reads them all.
func BenchmarkOpen(b *testing.B) {
	s, path := open(b, boltstore.Options{})
	fillServers(b, s, 100_000)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	var opens, snapshots []time.Duration
	for b.Loop() {
		start := time.Now()
		s, err := boltstore.Open(path, boltstore.Options{})
		if err != nil {
			b.Fatal(err)
		}
		opens = append(opens, time.Since(start))
		start = time.Now()
		if _, err := s.Snapshot(b.Context()); err != nil {
			b.Fatal(err)
		}
		snapshots = append(snapshots, time.Since(start))
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	percentiles(b, "open-", opens)
	percentiles(b, "snapshot-", snapshots)
}

func BenchmarkGet(b *testing.B) {
	s, _ := open(b, boltstore.Options{})
	fillServers(b, s, 100_000)
	for i := 0; b.Loop(); i++ {
		if _, err := s.Get(b.Context(), benchServer(i*7919%100_000, 0).Key()); err != nil {
			b.Fatal(err)
		}
	}
}
