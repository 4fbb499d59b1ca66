package token

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/mcpgate/mcpgate/extauthz/authserver"
)

// Pace of Metadata.
const (
	metadataFresh = 5 * time.Minute
	metadataRetry = 10 * time.Second
)

// errMetadataPaused is the answer while a failed fetch is not repeated.
var errMetadataPaused = errors.New("metadata: not asked again so soon after a failure")

// Metadata keeps the metadata documents of issuers as they published them
// (RFC 8414, or OpenID Connect Discovery), for clients that look for them at
// the gateway. It is safe for concurrent use, and fetches under the same
// limits as key sets.
type Metadata struct {
	fetch *authserver.Client
	now   func() time.Time

	// mu is held during a fetch: whoever asks meanwhile waits for the same one.
	mu     chan struct{}
	issuer string
	// document is that of issuer, asked for at the time at; nil after a failure.
	document []byte
	at       time.Time
}

// NewMetadata returns an empty Metadata. Nil stands for a transport that looks
// at every address it connects to; a nil clock is time.Now.
func NewMetadata(rt http.RoundTripper, now func() time.Time) *Metadata {
	if now == nil {
		now = time.Now
	}
	return &Metadata{fetch: authserver.New(rt), now: now, mu: make(chan struct{}, 1)}
}

// Get returns the document of the issuer: JSON whose `issuer` is the given
// one, byte for byte. One issuer is kept at a time. A good document is used
// for five minutes; after a failure nobody is asked for ten seconds.
func (m *Metadata) Get(ctx context.Context, issuer string) ([]byte, error) {
	select {
	case m.mu <- struct{}{}:
		defer func() { <-m.mu }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for metadata: %w", ctx.Err())
	}
	now := m.now()
	age := now.Sub(m.at)
	switch {
	case m.issuer != issuer || age < 0:
	case m.document != nil && age < metadataFresh:
		return m.document, nil
	case m.document == nil && age < metadataRetry:
		return nil, errMetadataPaused
	}
	// The fetch is for everybody who waits: it outlives this caller.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), authserver.Timeout)
	defer cancel()
	document, _, err := fetchMetadata(ctx, m.fetch, issuer)
	m.issuer, m.document, m.at = issuer, document, now
	return document, err
}
