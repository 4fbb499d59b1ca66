package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/boltstore"
)

// BenchmarkDurableWrite writes one server at a time to a registry of 10,000,
// each write a transaction of its own that is on the disk when it returns.
// Concurrent writers share the syncs. sync-p50-ms is what the disk takes for
// one page, written and synced by the same process in the same directory: a
// commit needs two of them, one after the other.
func BenchmarkDurableWrite(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			dir := b.TempDir()
			store, err := boltstore.Open(filepath.Join(dir, "registry.db"), boltstore.Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() {
				if err := store.Close(); err != nil {
					b.Error(err)
				}
			})
			write := func(from, to, version int) error {
				_, err := store.Update(b.Context(), func(tx registry.Tx) error {
					for i := from; i < to; i++ {
						if err := tx.Put(server(fmt.Sprintf("s%05d", i), fmt.Sprintf("127.0.0.1:%d", 1+version%60000))); err != nil {
							return err
						}
					}
					return nil
				})
				return err
			}
			const servers = 10_000
			if err := write(0, servers, 0); err != nil {
				b.Fatal(err)
			}
			sync1 := syncTime(b, dir)

			var next atomic.Int64
			var mu sync.Mutex
			var took []float64
			n := int64(b.N)
			b.ResetTimer()
			begin := time.Now()
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					var mine []float64
					for i := next.Add(1); i <= n; i = next.Add(1) {
						at := time.Now()
						if err := write(int(i*7919)%servers, int(i*7919)%servers+1, int(i)); err != nil {
							b.Error(err)
							return
						}
						mine = append(mine, float64(time.Since(at).Microseconds())/1e3)
					}
					mu.Lock()
					defer mu.Unlock()
					took = append(took, mine...)
				})
			}
			wg.Wait()
			elapsed := time.Since(begin).Seconds()
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(n)/elapsed, "writes/s")
			b.ReportMetric(quantile(took, 0.5), "p50-ms")
			b.ReportMetric(quantile(took, 0.99), "p99-ms")
			b.ReportMetric(sync1, "sync-p50-ms")
			b.ReportMetric(quantile(took, 0.5)/sync1, "p50/sync")
		})
	}
}

// syncTime is the median time of writing a page and syncing it, in ms.
func syncTime(b *testing.B, dir string) float64 {
	b.Helper()
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		b.Fatal(err)
	}
	page := make([]byte, 4096)
	var took []float64
	for i := range 200 {
		at := time.Now()
		if _, err := f.WriteAt(page, int64(i%64)*4096); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		took = append(took, float64(time.Since(at).Microseconds())/1e3)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return median(took)
}
