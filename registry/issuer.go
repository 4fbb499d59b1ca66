package registry

import "time"

// Issuer is an OAuth authorization server whose access tokens are accepted.
type Issuer struct {
	Name     string   `json:"name"`
	Metadata Metadata `json:"metadata,omitzero"`
	// Issuer is compared byte for byte with the token's `iss`.
	Issuer string `json:"issuer"`
	// JWKSURI is taken from the issuer's metadata document (RFC 8414, or
	// OpenID Connect Discovery) when empty.
	JWKSURI string `json:"jwksURI,omitempty"`
	// Audiences are accepted besides the server's own.
	Audiences []string `json:"audiences,omitempty"`
	// Algorithms accepted: DefaultAlgorithms when empty; never none or HMAC.
	Algorithms []string `json:"algorithms,omitempty"`
	// TokenTypes are the JOSE `typ` values accepted: DefaultTokenTypes when
	// empty. An empty entry accepts tokens that have no `typ`.
	TokenTypes []string `json:"tokenTypes,omitempty"`
	// AudienceFrom says what stands for the audience of a token that has no
	// `aud`: nothing when empty, or AudienceFromClient.
	AudienceFrom AudienceFrom `json:"audienceFrom,omitempty"`
	Claims       Claims       `json:"claims,omitzero"`
	Keys         Keys         `json:"keys,omitzero"`
	// Introspection, when set, is how the issuer's tokens are verified; JWKSURI,
	// Algorithms, TokenTypes and Keys are then not used, and must not be set.
	Introspection *Introspection `json:"introspection,omitempty"`
}

// AudienceFrom names what stands for a missing `aud`.
type AudienceFrom string

// AudienceFromClient takes the client (Claims.Client) for the audience of a
// token without `aud`. The audiences of the Issuer or of the Server must then
// list the ids of the clients that are let in.
const AudienceFromClient AudienceFrom = "client_id"

// Introspection asks the issuer about each token (RFC 7662).
type Introspection struct {
	// URL of the introspection endpoint: https, or http on loopback.
	URL string `json:"url"`
	// ClientID and ClientSecret are the gateway's own, at the issuer.
	ClientID     string    `json:"clientID"`
	ClientSecret SecretRef `json:"clientSecret"`
}

// ClaimPath leads to a claim: one key for each level of nesting.
type ClaimPath []string

// Claims says where the caller's properties are in a token. Each is a list of
// paths, of which the first present wins. Empty means the default.
type Claims struct {
	Subject []ClaimPath `json:"subject,omitempty"`
	Client  []ClaimPath `json:"client,omitempty"`
	Scopes  []ClaimPath `json:"scopes,omitempty"`
	Groups  []ClaimPath `json:"groups,omitempty"`
	// TokenID and Session are what a Revocation can name.
	TokenID []ClaimPath `json:"tokenID,omitempty"`
	Session []ClaimPath `json:"session,omitempty"`
}

// Keys says how an issuer's key set is kept.
type Keys struct {
	// Refresh is the interval of the background refresh; 5m when zero.
	Refresh Duration `json:"refresh,omitzero"`
	// MaxStale is how long the last good keys serve in an outage; 1h when zero.
	MaxStale Duration `json:"maxStale,omitzero"`
}

// Defaults of an Issuer's Keys.
const (
	DefaultKeyRefresh  = 5 * time.Minute
	DefaultKeyMaxStale = time.Hour
)

// DefaultAlgorithms are accepted from an Issuer that lists none.
func DefaultAlgorithms() []string { return []string{"RS256", "PS256", "ES256", "EdDSA"} }

// DefaultTokenTypes are accepted from an Issuer that lists none.
func DefaultTokenTypes() []string { return []string{"at+jwt", "JWT"} }

// WithDefaults is the claim paths with the empty ones filled in.
func (c Claims) WithDefaults() Claims {
	or := func(p []ClaimPath, def ...ClaimPath) []ClaimPath {
		if len(p) == 0 {
			return def
		}
		return p
	}
	return Claims{
		Subject: or(c.Subject, ClaimPath{"sub"}),
		Client:  or(c.Client, ClaimPath{"client_id"}, ClaimPath{"azp"}, ClaimPath{"cid"}),
		Scopes:  or(c.Scopes, ClaimPath{"scope"}, ClaimPath{"scp"}),
		Groups:  or(c.Groups, ClaimPath{"groups"}, ClaimPath{"realm_access", "roles"}, ClaimPath{"cognito:groups"}),
		TokenID: or(c.TokenID, ClaimPath{"jti"}),
		Session: or(c.Session, ClaimPath{"sid"}),
	}
}

// Key implements Resource.
func (i *Issuer) Key() Key { return Key{KindIssuer, i.Name} }

// Meta implements Resource.
func (i *Issuer) Meta() *Metadata { return &i.Metadata }
