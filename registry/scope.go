package registry

// Scope is an OAuth scope (RFC 6749 section 3.3) and what it grants.
type Scope struct {
	// Name is the scope-token as it appears in an access token.
	Name        string   `json:"name"`
	Metadata    Metadata `json:"metadata,omitzero"`
	Description string   `json:"description,omitempty"`
	// Includes are scopes implied by this one; cycles are refused.
	Includes []string `json:"includes,omitempty"`
	Rules    []Rule   `json:"rules,omitempty"`
}

// Rule grants operations on the named servers. Rules only ever add up.
type Rule struct {
	// Servers are server names, or "*" for every server.
	Servers   []string  `json:"servers"`
	Tools     []Pattern `json:"tools,omitempty"`
	Prompts   []Pattern `json:"prompts,omitempty"`
	Resources []Pattern `json:"resources,omitempty"`
	// Methods are further MCP methods by exact name; "*" is not accepted.
	Methods []string `json:"methods,omitempty"`
}

// AnyServer in Rule.Servers stands for every server.
const AnyServer = "*"

// Pattern is an exact name, a prefix that ends in "*", or "*". Matching is
// byte for byte: no case folding, no trimming, no Unicode normalisation.
type Pattern string

// Match reports whether name matches the pattern.
func (p Pattern) Match(name string) bool {
	if n := len(p); n > 0 && p[n-1] == '*' {
		return len(name) >= n-1 && name[:n-1] == string(p[:n-1])
	}
	return string(p) == name
}

// Key implements Resource.
func (s *Scope) Key() Key { return Key{KindScope, s.Name} }

// Meta implements Resource.
func (s *Scope) Meta() *Metadata { return &s.Metadata }

// Group gives scopes to the members of a group named in tokens.
type Group struct {
	// Name is the group as it appears in a token.
	Name     string   `json:"name"`
	Metadata Metadata `json:"metadata,omitzero"`
	// Issuer, when set, is the only Issuer whose tokens can carry the group.
	Issuer string   `json:"issuer,omitempty"`
	Scopes []string `json:"scopes"`
}

// Key implements Resource.
func (g *Group) Key() Key { return Key{KindGroup, g.Name} }

// Meta implements Resource.
func (g *Group) Meta() *Metadata { return &g.Metadata }

// SessionKey is a key that binds MCP session ids to their owner. It is
// internal: see KindSessionKey.
type SessionKey struct {
	// Name is the key id that a bound session id carries.
	Name     string   `json:"name"`
	Metadata Metadata `json:"metadata,omitzero"`
	// Secret is 32 random bytes.
	Secret []byte `json:"secret"`
}

// Key implements Resource.
func (k *SessionKey) Key() Key { return Key{KindSessionKey, k.Name} }

// Meta implements Resource.
func (k *SessionKey) Meta() *Metadata { return &k.Metadata }
