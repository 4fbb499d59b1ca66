// Command sample runs what the examples stand on: three sample MCP servers and
// a development issuer that gives a token to whoever asks. Not for production.
//
//	sample [-host 127.0.0.1] [-port 9000]
//
// The issuer listens on the port, weather, notes and clock on the next three.
// GET /token?subject=alice&scope=weather:read&aud=http://127.0.0.1:8080 on the
// issuer answers with a token.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/demo"
)

func main() {
	host := flag.String("host", "127.0.0.1", "Address to listen on.")
	port := flag.Int("port", 9000, "Port of the issuer; the servers take the next ones.")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *host, *port); err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "sample: error: %s\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, host string, port int) error {
	issuer, err := issuerHandler(fmt.Sprintf("http://127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	handlers := []http.Handler{issuer}
	for _, s := range demo.Servers() {
		handlers = append(handlers, s.Handler())
	}
	group, ctx := errgroup.WithContext(ctx)
	for i, h := range handlers {
		server := &http.Server{
			Addr:              net.JoinHostPort(host, strconv.Itoa(port+i)),
			Handler:           h,
			ReadHeaderTimeout: 5 * time.Second,
		}
		group.Go(func() error {
			if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
		group.Go(func() error {
			<-ctx.Done()
			return server.Close()
		})
	}
	return group.Wait()
}

func issuerHandler(url string) (http.Handler, error) {
	issuer, err := demo.NewIssuer(url)
	if err != nil {
		return nil, err
	}
	documents, err := issuer.Handler()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", documents)
	mux.HandleFunc("GET /token", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		token, err := issuer.Token(q.Get("subject"), q.Get("aud"), demo.Claims{"scope": q.Get("scope")})
		if err != nil {
			http.Error(w, "no token", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, token) //nolint:gosec // a token is base64url text
	})
	return mux, nil
}
