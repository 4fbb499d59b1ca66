package registry

import (
	"slices"
	"strings"
)

func (s *Scope) validate(p *problems) {
	switch {
	case s.Name == "":
		p.addf("name", "must be set")
	case !validScopeName(s.Name):
		p.addf("name", "must be a scope-token (RFC 6749 section 3.3) of at most %d characters: visible ASCII without \" and \\", maxScopeBytes)
	}
	p.text("description", s.Description, maxDescriptionBytes, isText)
	p.scopeNames("includes", s.Includes, maxIncludes)
	for i, name := range s.Includes {
		if name == s.Name {
			p.addf(at("includes", i), "the scope includes itself")
		}
	}
	if !p.count("rules", len(s.Rules), maxRules) {
		return
	}
	for i := range s.Rules {
		s.Rules[i].validate(p, at("rules", i))
	}
}

func validScopeName(s string) bool { return isScopeToken(s) && len(s) <= maxScopeBytes }

func (r *Rule) validate(p *problems, field string) {
	if len(r.Servers) == 0 {
		p.addf(field+".servers", `must name a server, or "*" for every server`)
	}
	p.names(field+".servers", r.Servers, maxServers, func(s string) bool { return s == AnyServer || isName(s) }, `the name of a Server or "*"`)
	p.patterns(field+".tools", r.Tools)
	p.patterns(field+".prompts", r.Prompts)
	p.patterns(field+".resources", r.Resources)
	if !p.count(field+".methods", len(r.Methods), maxMethods) {
		return
	}
	p.distinct(field+".methods", r.Methods)
	for i, m := range r.Methods {
		if msg := checkMethod(m); msg != "" {
			p.addf(at(field+".methods", i), "%s", msg)
		}
	}
}

func (p *problems) patterns(field string, list []Pattern) {
	if !p.count(field, len(list), maxPatterns) {
		return
	}
	for i, pat := range list {
		s := string(pat)
		switch {
		case s == "":
			p.addf(at(field, i), `is empty; "*" matches everything`)
		case len(s) > maxPatternBytes:
			p.addf(at(field, i), "is longer than %d bytes", maxPatternBytes)
		case hasControl(s):
			p.addf(at(field, i), "has a control character or is not UTF-8")
		case strings.Contains(s[:len(s)-1], "*"):
			p.addf(at(field, i), `"*" is accepted at the end only`)
		case slices.Contains(list[:i], pat):
			p.addf(at(field, i), "is listed twice")
		}
	}
}

// checkMethod returns what is wrong with an entry of Rule.Methods, or "".
//
// A method whose permission depends on its target must not be granted by its
// bare name, which would allow every target.
func checkMethod(m string) string {
	switch m {
	case "":
		return "is empty"
	case "tools/call":
		return "tools/call is granted by tools, which names the tools"
	case "prompts/get":
		return "prompts/get is granted by prompts, which names the prompts"
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		return m + " is granted by resources, which names the URIs"
	case "completion/complete":
		return "completion/complete is granted by prompts or resources, whichever it refers to"
	case "tasks/list":
		return "tasks/list is always refused: it would show the tasks of others"
	}
	switch {
	case strings.Contains(m, "*"):
		return `"*" is not accepted: name each method`
	case len(m) > maxMethodBytes || !isVisible(m):
		return "is not the name of a method"
	}
	return ""
}

// isVisible reports whether s is visible ASCII without spaces.
func isVisible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= 0x20 || r >= 0x7f })
}

// alwaysGranted reports whether any rule that names a server grants the method
// anyway, so that naming it adds nothing.
func alwaysGranted(method string) bool {
	switch method {
	case "initialize", "server/discover", "ping", "logging/setLevel", "subscriptions/listen",
		"tools/list", "prompts/list", "resources/list", "resources/templates/list":
		return true
	}
	return strings.HasPrefix(method, "notifications/") || strings.HasPrefix(method, "tasks/")
}

func (g *Group) validate(p *problems) {
	switch {
	case g.Name == "":
		p.addf("name", "must be set")
	case len(g.Name) > maxGroupBytes || !isPrintable(g.Name):
		p.addf("name", "must be printable UTF-8 of at most %d bytes", maxGroupBytes)
	}
	if g.Issuer != "" && !isName(g.Issuer) {
		p.addf("issuer", "is not the name of an Issuer")
	}
	p.scopeNames("scopes", g.Scopes, maxScopes)
}

func (k *SessionKey) validate(p *problems) {
	if len(k.Name) > maxKeyIDBytes || !isEnvName("_"+strings.ReplaceAll(k.Name, "-", "_")) || k.Name == "" {
		p.addf("name", "must be 1 to %d letters, digits, - and _", maxKeyIDBytes)
	}
	if len(k.Secret) != sessionKeyBytes {
		p.addf("secret", "must be %d bytes", sessionKeyBytes)
	}
}
