package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long the files of a certificate must stay still before they
// are read: a renewal writes two of them.
const settle = 200 * time.Millisecond

// loadCertificate reads the gateway's certificate and hands it to the Envoys.
func (g *gateway) loadCertificate() error {
	files := g.cfg.Gateway.TLS
	cert, err := os.ReadFile(files.CertFile)
	if err != nil {
		return fmt.Errorf("read certificate: %w", err)
	}
	key, err := os.ReadFile(files.KeyFile)
	if err != nil {
		return fmt.Errorf("read certificate key: %w", err)
	}
	if err := g.ads.SetCertificate(cert, key); err != nil {
		return fmt.Errorf("certificate %s: %w", files.CertFile, err)
	}
	return nil
}

// followCertificate reads the certificate again when its files change. A pair
// that cannot be used is reported, and the last good one goes on serving.
//
// It watches the folders, not the files: a renewal usually replaces a file, or
// a symbolic link above it.
func (p *program) followCertificate(ctx context.Context) (err error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch certificate: %w", err)
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for _, file := range []string{p.cfg.Gateway.TLS.CertFile, p.cfg.Gateway.TLS.KeyFile} {
		if err := w.Add(filepath.Dir(file)); err != nil {
			return fmt.Errorf("watch certificate: %w", err)
		}
	}
	quiet := time.NewTimer(0)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-w.Events:
			if !ok {
				return errors.New("watch of the certificate ended")
			}
			quiet.Reset(settle)
		case err := <-w.Errors:
			p.log.WarnContext(ctx, "certificate watch", "error", err)
			quiet.Reset(settle)
		case <-quiet.C:
			if err := p.loadCertificate(); err != nil {
				p.log.ErrorContext(ctx, "certificate not renewed", "error", err)
			}
		}
	}
}
