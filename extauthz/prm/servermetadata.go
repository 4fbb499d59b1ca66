package prm

import (
	"context"
	"net/http"
)

// Where clients of MCP 2025-03-26 look for the metadata of the authorization
// server: at the origin of the MCP server, which that revision takes for the
// authorization server itself.
const (
	oauthMetadataPath  = "/.well-known/oauth-authorization-server"
	openIDMetadataPath = "/.well-known/openid-configuration"
)

// Metadata has the metadata documents of issuers, as they published them.
type Metadata interface {
	// Get returns the document of the issuer with that identifier.
	Get(ctx context.Context, issuer string) ([]byte, error)
}

func isServerMetadataPath(path string) bool {
	return path == oauthMetadataPath || path == openIDMetadataPath
}

// serverMetadata passes on the document of the only Issuer. With several there
// is no telling which one a client wants, and it is a 404, as it is when the
// issuer cannot be reached: such a client then falls back, and never gets a
// document that is not the issuer's own.
func (h *Handler) serverMetadata(w http.ResponseWriter, r *http.Request) {
	issuers := h.policies.IssuerURLs()
	if h.metadata == nil || len(issuers) != 1 {
		notFound(w, r)
		return
	}
	document, err := h.metadata.Get(r.Context(), issuers[0])
	if err != nil {
		notFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	send(w, r, http.StatusOK, document)
}
