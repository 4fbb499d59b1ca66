package registry

import (
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// isName reports whether s is the name of a Server or an Issuer: a DNS label in
// lower case, which is safe in a path segment, a cluster name and a header.
func isName(s string) bool {
	if s == "" || len(s) > maxNameBytes || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLower(c) && !isDigit(c) && c != '-' {
			return false
		}
	}
	return true
}

// isScopeToken reports whether s is a scope-token (RFC 6749 section 3.3).
func isScopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// isToken reports whether s is a token (RFC 9110 section 5.6.2), the syntax of
// header names and authentication schemes.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isLower(c|0x20) && !isDigit(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// isPrintable reports whether s is valid UTF-8 of printable characters and
// ASCII spaces. Control, format, private-use and unassigned characters are not
// printable; two names must not look alike because of one.
func isPrintable(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return utf8.ValidString(s)
}

// isText is isPrintable with line breaks and tabs.
func isText(s string) bool {
	return isPrintable(strings.NewReplacer("\n", "", "\t", "").Replace(s))
}

// hasControl reports whether s has a control character or is not UTF-8.
func hasControl(s string) bool {
	return strings.ContainsFunc(s, unicode.IsControl) || !utf8.ValidString(s)
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isAlnum(c byte) bool { return isLower(c|0x20) || isDigit(c) }

// isHostName reports whether s is a DNS name as resolvers take it, in ASCII.
func isHostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !isAlnum(c) && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// isAbsolutePath reports whether s is a clean absolute path of a file.
func isAbsolutePath(s string) bool {
	return len(s) > 1 && len(s) <= maxPathBytes && s[0] == '/' && path.Clean(s) == s && !hasControl(s)
}

// urlRules say which parts a URL may have.
type urlRules struct {
	query bool
	// plainHTTP: "http" is accepted for any host, not for loopback ones only.
	plainHTTP bool
}

// checkURL returns what is wrong with an absolute http or https URL, or "". The
// message never repeats the URL, which may hold a password.
//
// Only the characters of RFC 3986 are accepted, and no dot segments: the path
// is copied into Envoy's configuration, where nothing normalises it again.
func checkURL(s string, rules urlRules) string {
	if s == "" {
		return "must be set"
	}
	if len(s) > maxURLBytes {
		return fmt.Sprintf("is longer than %d bytes", maxURLBytes)
	}
	for i := range len(s) {
		if c := s[i]; c <= 0x20 || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			return fmt.Sprintf("has a character at byte %d that a URL cannot hold unescaped", i)
		}
	}
	u, err := url.Parse(s)
	if err != nil {
		return "is not a URL"
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return "must begin with https:// or http://"
	case u.Opaque != "" || u.Host == "" || u.Hostname() == "":
		return "has no host"
	case u.User != nil:
		return "must not hold a user or a password"
	case strings.Contains(s, "#"):
		return "must not have a fragment"
	case !rules.query && strings.Contains(s, "?"):
		return "must not have a query"
	}
	if msg := checkHostPort(u); msg != "" {
		return msg
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return `must not have "." or ".." as a path segment`
		}
	}
	if hasControl(u.Path) {
		return "must not have an escaped control character"
	}
	if u.Scheme == "http" && !rules.plainHTTP && !isLoopback(u.Hostname()) {
		return "must be https, unless its host is a loopback address"
	}
	return ""
}

func checkHostPort(u *url.URL) string {
	host := u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() || a.Zone() != "" {
			return "has a host that is not an IPv6 address"
		}
	} else if !isHostName(host) {
		return "has a host that is neither a DNS name nor an IP address"
	}
	if strings.HasSuffix(u.Host, ":") {
		return "has an empty port"
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return "has a port outside 1 to 65535"
		}
	}
	return ""
}

// isLoopback reports whether host is localhost or a loopback address.
func isLoopback(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}
