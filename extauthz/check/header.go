package check

import (
	"errors"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mcpgate/mcpgate/registry"
)

// isHeaderText reports whether v can be the value of a header and reaches the
// other side as it is: UTF-8 without control characters (C1 included), not
// empty, and without a blank at either end, which the receiver would trim.
func isHeaderText(v string) bool {
	if v == "" || isBlank(v[0]) || isBlank(v[len(v)-1]) {
		return false
	}
	for i := range len(v) {
		if c := v[i]; c < ' ' || c == 0x7f {
			return false
		} else if c >= utf8.RuneSelf {
			return utf8.ValidString(v[i:]) && !strings.ContainsFunc(v[i:], unicode.IsControl)
		}
	}
	return true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// isVisible reports whether v is one or more visible ASCII characters, as a
// session id must be.
func isVisible(v string) bool {
	for i := range len(v) {
		if v[i] <= ' ' || v[i] >= 0x7f {
			return false
		}
	}
	return v != ""
}

// credential is the header that carries the upstream's credential.
func (s *Server) credential(c *registry.Credential) (pair, error) {
	name := nameAuthorization
	if c.Header != "" {
		name = strings.ToLower(c.Header)
	}
	if !isCredentialName(name) {
		return pair{}, errors.New("the upstream's credential has a header name that is not allowed")
	}
	value, err := s.secrets.Resolve(c.Secret)
	if err != nil {
		return pair{}, err
	}
	if c.Scheme != "" {
		value = c.Scheme + " " + value
	}
	if !isHeaderText(value) {
		return pair{}, errors.New("the upstream's credential does not fit into a header")
	}
	return pair{name, value}, nil
}

// isCredentialName refuses what is no header name (RFC 9110 section 5.1) and
// the names that mean something to HTTP, to MCP or to the gateway.
func isCredentialName(name string) bool {
	for _, prefix := range [...]string{"content-", "x-mcpgate", "x-envoy-", "x-forwarded-", "mcp-", "proxy-", "sec-", "accept"} {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	switch name {
	case "", "host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect",
		"origin", "last-event-id", "x-request-id", "forwarded":
		return false
	}
	for i := range len(name) {
		c := name[i]
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 {
			continue
		}
		return false
	}
	return true
}

// isJSON reports whether a Content-Type is application/json, alone or with
// charset=utf-8. Any other charset is one that the upstream could read another
// message in.
func isJSON(contentType string) bool {
	media, param, found := strings.Cut(contentType, ";")
	if !strings.EqualFold(strings.Trim(media, " \t"), "application/json") {
		return false
	}
	if !found {
		return true
	}
	name, value, _ := strings.Cut(strings.Trim(param, " \t"), "=")
	return strings.EqualFold(name, "charset") &&
		(strings.EqualFold(value, "utf-8") || strings.EqualFold(value, `"utf-8"`))
}

// bearer takes the token out of an Authorization header (RFC 6750 section
// 2.1). present is false when the header uses another scheme: nothing there is
// for the gateway.
func bearer(authorization string) (token string, present bool) {
	scheme, token, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.Trim(token, " "), true
}

// hasQueryToken reports whether the query of a path has an access_token (RFC
// 6750 section 2.3), which ends up in logs.
func hasQueryToken(path string) bool {
	_, query, _ := strings.Cut(path, "?")
	for query != "" {
		var part string
		if i := strings.IndexAny(query, "&;"); i >= 0 {
			part, query = query[:i], query[i+1:]
		} else {
			part, query = query, ""
		}
		name, _, _ := strings.Cut(part, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if strings.EqualFold(name, "access_token") {
			return true
		}
	}
	return false
}

// origins are the values of Origin that are accepted (RFC 6454 section 7).
type origins struct {
	exact map[string]struct{}
	// anyPort are origins without port: those that were given as "…:*".
	anyPort map[string]struct{}
}

func newOrigins(list []string) origins {
	o := origins{exact: map[string]struct{}{}, anyPort: map[string]struct{}{}}
	for _, v := range list {
		if base, ok := strings.CutSuffix(v, ":*"); ok {
			o.anyPort[base] = struct{}{}
		} else {
			o.exact[v] = struct{}{}
		}
	}
	return o
}

// allow compares byte for byte: a browser sends the scheme and the host in
// lower case.
func (o origins) allow(origin string) bool {
	if _, ok := o.exact[origin]; ok {
		return true
	}
	if _, ok := o.anyPort[origin]; ok {
		return true
	}
	i := strings.LastIndexByte(origin, ':')
	if i < 0 || !isPort(origin[i+1:]) {
		return false
	}
	_, ok := o.anyPort[origin[:i]]
	return ok
}

func isPort(s string) bool {
	if s == "" || len(s) > 5 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
