package command

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/config"
	"github.com/mcpgate/mcpgate/registry"
)

// sessionKeySize is that of the hash in the MAC, HMAC-SHA256 (RFC 2104
// section 3).
const sessionKeySize = 32

// rotateSessionKeys makes a new key for binding sessions when there is none,
// or the newest is older than c.Rotate, and removes those older than c.Keep,
// whose sessions end. It returns when it should be called again. Several
// gateways on one store agree, since each call is one transaction.
func rotateSessionKeys(ctx context.Context, store registry.Store, c config.Sessions, now time.Time) (next time.Time, err error) {
	_, err = store.Update(ctx, func(tx registry.Tx) error {
		keys, err := tx.List(registry.KindSessionKey)
		if err != nil {
			return err
		}
		var newest time.Time
		for _, key := range keys {
			r, err := tx.Get(key)
			if err != nil {
				return err
			}
			created := r.Meta().CreatedAt
			if created.Add(time.Duration(c.Keep)).Before(now) {
				if err := tx.Delete(key); err != nil {
					return err
				}
			} else if created.After(newest) {
				newest = created
			}
		}
		// A clock that was set back must not stop the rotation.
		next = newest.Add(time.Duration(c.Rotate))
		if latest := now.Add(time.Duration(c.Rotate)); next.After(latest) {
			next = latest
		}
		if next.After(now) {
			return nil
		}
		next = now.Add(time.Duration(c.Rotate))
		return tx.Put(newSessionKey())
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("rotate session keys: %w", err)
	}
	return next, nil
}

func newSessionKey() *registry.SessionKey {
	id, secret := make([]byte, 4), make([]byte, sessionKeySize)
	// crypto/rand.Read never returns an error: it ends the program.
	_, _ = rand.Read(id)
	_, _ = rand.Read(secret)
	return &registry.SessionKey{Name: hex.EncodeToString(id), Secret: secret}
}

// rotate keeps the session keys young until ctx ends. A store that cannot be
// written to is tried again: the keys there are go on working.
func (g *gateway) rotate(ctx context.Context) error {
	const retry = time.Minute
	for {
		now := time.Now()
		next, err := rotateSessionKeys(ctx, g.store, g.cfg.Sessions, now)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the end that was asked for
		case errors.Is(err, registry.ErrClosed):
			return err
		case err != nil:
			g.log.ErrorContext(ctx, "session keys not rotated", "error", err)
			next = now.Add(retry)
		}
		wait := time.NewTimer(max(next.Sub(now), time.Second))
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil
		case <-wait.C:
		}
	}
}
