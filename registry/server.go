package registry

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Server is one MCP server behind the gateway. Its public URL is
// <externalURL>/<name>/mcp.
type Server struct {
	Name        string   `json:"name"`
	Metadata    Metadata `json:"metadata,omitzero"`
	Title       string   `json:"title,omitempty"`
	Description string   `json:"description,omitempty"`
	Tags        []string `json:"tags,omitempty"`
	// Enabled is true when unset; a disabled server answers as an unknown one.
	Enabled  *bool    `json:"enabled,omitempty"`
	Upstream Upstream `json:"upstream"`
	Access   Access   `json:"access,omitzero"`
}

// Upstream is where and how the gateway reaches the server.
type Upstream struct {
	// URL is http or https, without query, fragment or user information.
	URL string `json:"url"`
	TLS *TLS   `json:"tls,omitempty"`
	// Credential is what the upstream gets in place of the client's token.
	Credential *Credential `json:"credential,omitempty"`
	// ForwardClientToken passes the client's own token to the upstream: an
	// explicit choice, shown as a warning (MCP forbids it by default).
	ForwardClientToken bool `json:"forwardClientToken,omitempty"`
	// Exchange trades the client's token for one that is made for the upstream;
	// neither Credential nor ForwardClientToken can be set beside it.
	Exchange *Exchange `json:"exchange,omitempty"`
	// ConnectTimeout is 5s when zero.
	ConnectTimeout Duration `json:"connectTimeout,omitzero"`
	// IdleTimeout bounds the silence on one stream; 1h when zero.
	IdleTimeout Duration `json:"idleTimeout,omitzero"`
}

// TLS refines how an https upstream is verified. It is always verified; the
// system's certificate authorities are used when CAFile is empty.
type TLS struct {
	CAFile     string `json:"caFile,omitempty"`
	ServerName string `json:"serverName,omitempty"`
}

// Credential is a request header for the upstream, its secret by reference.
type Credential struct {
	// Header is "Authorization" when empty.
	Header string `json:"header,omitempty"`
	// Scheme precedes the secret, with one space between; none when empty.
	Scheme string    `json:"scheme,omitempty"`
	Secret SecretRef `json:"secret"`
}

// Exchange is a token exchange (RFC 8693): the upstream gets the result as its
// bearer token.
type Exchange struct {
	// TokenURL is the token endpoint: https, or http on loopback.
	TokenURL string `json:"tokenURL"`
	// ClientID and ClientSecret are the gateway's own, at the authorization
	// server.
	ClientID     string    `json:"clientID"`
	ClientSecret SecretRef `json:"clientSecret"`
	// Audience is the upstream's name at the authorization server; not sent
	// when empty.
	Audience string `json:"audience,omitempty"`
	// Scopes are those to ask for; when empty, what the authorization server
	// gives by itself.
	Scopes []string `json:"scopes,omitempty"`
}

// SecretRef points to a secret: "env:NAME" or "file:/absolute/path". The
// secret itself is never stored.
type SecretRef string

// Access says whose tokens the server accepts.
type Access struct {
	// Issuers are names of Issuers; empty means every Issuer.
	Issuers []string `json:"issuers,omitempty"`
	// Audiences a token may carry; empty means the server's public URL.
	Audiences []string `json:"audiences,omitempty"`
	// BaselineScopes are what the first 401 asks for; when empty, the scopes
	// whose rules name this server.
	BaselineScopes []string `json:"baselineScopes,omitempty"`
}

// Defaults of an Upstream's timeouts.
const (
	DefaultConnectTimeout = 5 * time.Second
	DefaultIdleTimeout    = time.Hour
)

// Key implements Resource.
func (s *Server) Key() Key { return Key{KindServer, s.Name} }

// Meta implements Resource.
func (s *Server) Meta() *Metadata { return &s.Metadata }

// IsEnabled reports whether the server is to be served.
func (s *Server) IsEnabled() bool { return s.Enabled == nil || *s.Enabled }

// Duration is a time.Duration whose JSON form is a string such as "5s".
type Duration time.Duration

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON implements json.Unmarshaler. It accepts what
// time.ParseDuration accepts.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf(`a duration is a string such as "5s"`)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf(`%q is not a duration such as "5s"`, s)
	}
	*d = Duration(v)
	return nil
}

// Or is the duration, or def when it is zero.
func (d Duration) Or(def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return time.Duration(d)
}

// SameUpstream reports whether s and o would reach the same upstream with the
// same credential, so that a decision made for one holds for the other.
func (s *Server) SameUpstream(o *Server) bool {
	return s.Upstream.URL == o.Upstream.URL &&
		equalPtr(s.Upstream.TLS, o.Upstream.TLS) &&
		equalPtr(s.Upstream.Credential, o.Upstream.Credential) &&
		s.Upstream.Exchange.equal(o.Upstream.Exchange) &&
		s.Upstream.ForwardClientToken == o.Upstream.ForwardClientToken
}

func (e *Exchange) equal(o *Exchange) bool {
	if e == nil || o == nil {
		return e == o
	}
	return e.TokenURL == o.TokenURL && e.ClientID == o.ClientID && e.ClientSecret == o.ClientSecret &&
		e.Audience == o.Audience && slices.Equal(e.Scopes, o.Scopes)
}

func equalPtr[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
