package command

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/config"
)

// listen binds an address: "unix:/path" with mode 0600, or "host:port".
//
// A Unix socket is bound under a temporary name and renamed into place, so
// that a new process takes over from an old one with no refused connection
// between them, and the old one's end does not remove the new one's socket.
func listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	path, isUnix := strings.CutPrefix(address, "unix:")
	if !isUnix {
		return lc.Listen(ctx, "tcp", address)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	// It is bound in a folder that nobody else can enter: it must never be
	// reachable by others, not even before its mode is set. A umask would do
	// that too, and change what else this process creates meanwhile.
	folder := fmt.Sprintf("%s.%d", path, os.Getpid())
	l, err := listenIn(ctx, folder, path)
	if err := errors.Join(err, os.RemoveAll(folder)); err != nil {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}

// listenIn binds a socket in a new folder and moves it to path.
func listenIn(ctx context.Context, folder, path string) (net.Listener, error) {
	// What a killed process of the same number left.
	if err := os.RemoveAll(folder); err != nil {
		return nil, err
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	temp := filepath.Join(folder, "s")
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", temp)
	if err != nil {
		return nil, err
	}
	if ul, ok := l.(*net.UnixListener); ok {
		ul.SetUnlinkOnClose(false)
	}
	if err := errors.Join(os.Chmod(temp, 0o600), os.Rename(temp, path)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// mutualTLS is the TLS of an endpoint that serves Envoy over a network: both
// sides show a certificate. It is nil for a Unix socket and for an endpoint
// that is explicitly insecure.
func mutualTLS(e config.Endpoint) (*tls.Config, error) {
	if strings.HasPrefix(e.Listen, "unix:") || e.TLS.CertFile == "" {
		return nil, nil //nolint:nilnil // no TLS is an answer
	}
	c, err := serverTLS(config.CertTLS{CertFile: e.TLS.CertFile, KeyFile: e.TLS.KeyFile})
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(e.TLS.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("read client CA: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("client CA %s holds no certificate", e.TLS.ClientCAFile)
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	return c, nil
}

// adminTLS is how the commands trust the admin endpoint of their configuration:
// by the system's authorities, and by its own certificate file, so that a
// private authority needs nothing more. It is nil when there is no file.
func adminTLS(a config.Admin) (*tls.Config, error) {
	if strings.HasPrefix(a.Listen, "unix:") || a.TLS.CertFile == "" {
		return nil, nil //nolint:nilnil // no TLS of its own is an answer
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read the system's authorities: %w", err)
	}
	// On another machine with the same configuration the file may be absent.
	pem, err := os.ReadFile(a.TLS.CertFile)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read admin certificate: %w", err)
	}
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}, nil
}

// serverTLS reads the certificate anew for every connection, so that a renewed
// file needs no restart.
func serverTLS(files config.CertTLS) (*tls.Config, error) {
	load := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("load certificate: %w", err)
		}
		return &cert, nil
	}
	if _, err := load(nil); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: load, NextProtos: []string{"h2"}}, nil
}
