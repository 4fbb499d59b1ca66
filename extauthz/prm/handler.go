package prm

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/mcpgate/mcpgate/extauthz"
)

// Path is the well-known path of RFC 9728; that of a server's document follows
// it.
const Path = "/.well-known/oauth-protected-resource"

// maxPath is longer than the path of any server.
const maxPath = len(Path) + 128

// Policies is what the documents are made from.
type Policies interface {
	// Server finds an enabled server.
	Server(name string) (*extauthz.ServerPolicy, bool)
	// IssuerURLs are the issuer identifiers of every Issuer.
	IssuerURLs() []string
	// ExternalURL is the origin under which clients reach the gateway.
	ExternalURL() string
}

// document is RFC 9728 section 2. Lists without an element must be left out.
type document struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers,omitempty"`
	ScopesSupported      []string `json:"scopes_supported,omitempty"`
	BearerMethods        []string `json:"bearer_methods_supported"`
	ResourceName         string   `json:"resource_name,omitempty"`
}

// Handler serves everything under /.well-known.
type Handler struct {
	policies Policies
	metadata Metadata
}

// New returns a Handler over the policies. A nil Metadata has no document.
func New(p Policies, m Metadata) *Handler { return &Handler{policies: p, metadata: m} }

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("X-Content-Type-Options", "nosniff")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		// Clients send MCP-Protocol-Version with this request, so that browsers
		// ask before it.
		header.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
		header.Set("Access-Control-Allow-Headers", "*")
		header.Set("Access-Control-Max-Age", "3600")
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		header.Set("Allow", "GET, HEAD, OPTIONS")
		answer(w, r, http.StatusMethodNotAllowed, newProblem(-32600, "method not allowed"))
		return
	}
	path := r.URL.EscapedPath()
	if isServerMetadataPath(path) {
		h.serverMetadata(w, r)
		return
	}
	doc, ok := h.find(path)
	if !ok {
		notFound(w, r)
		return
	}
	header.Set("Cache-Control", "no-cache")
	answer(w, r, http.StatusOK, doc)
}

// problem is the body of an error: the JSON-RPC error object that every refusal
// of the gateway has.
type problem struct {
	Version string       `json:"jsonrpc"`
	ID      any          `json:"id"`
	Error   problemError `json:"error"`
}

type problemError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func newProblem(code int, message string) problem {
	return problem{Version: "2.0", Error: problemError{Code: code, Message: message}}
}

// notFound answers for every path without a document.
func notFound(w http.ResponseWriter, r *http.Request) {
	answer(w, r, http.StatusNotFound, newProblem(-32001, "no such resource"))
}

// find makes the document for the path as it was sent: a name that needs an
// escape is no server's.
func (h *Handler) find(path string) (document, bool) {
	rest, ok := strings.CutPrefix(path, Path)
	if !ok || len(path) > maxPath {
		return document{}, false
	}
	if rest == "" {
		return h.origin()
	}
	name, ok := strings.CutPrefix(rest, "/")
	if !ok {
		return document{}, false
	}
	if name, ok = strings.CutSuffix(name, "/mcp"); !ok {
		return document{}, false
	}
	s, ok := h.policies.Server(name)
	if !ok {
		return document{}, false
	}
	doc := newDocument(s.Resource, s.IssuerURLs())
	doc.ScopesSupported = s.Baseline
	doc.ResourceName = s.Title
	if doc.ResourceName == "" {
		doc.ResourceName = s.Name
	}
	return doc, true
}

// origin describes the origin: where tokens for what is behind it come from.
func (h *Handler) origin() (document, bool) {
	urls := h.policies.IssuerURLs()
	return newDocument(h.policies.ExternalURL(), urls), len(urls) > 0
}

func newDocument(resource string, issuers []string) document {
	return document{Resource: resource, AuthorizationServers: issuers, BearerMethods: []string{"header"}}
}

// answer writes v as JSON, without the escapes that json.Marshal adds for
// HTML: `resource` is compared byte for byte.
func answer(w http.ResponseWriter, r *http.Request, status int, v any) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	send(w, r, status, []byte(b.String()))
}

// send writes a JSON text.
func send(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		// An error here is a client that has gone away.
		_, _ = w.Write(body)
	}
}
