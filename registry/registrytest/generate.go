package registrytest

import (
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/mcpgate/mcpgate/registry"
)

// Resources generates resources of the given kinds, each valid alone. Names
// come from a pool of a few, so that draws meet and refer to each other; texts
// are of every sort that is accepted.
func Resources(kinds ...registry.Kind) *rapid.Generator[registry.Resource] {
	return rapid.Custom(func(t *rapid.T) registry.Resource {
		switch kind := rapid.SampledFrom(kinds).Draw(t, "kind"); kind {
		case registry.KindServer:
			return drawServer(t)
		case registry.KindIssuer:
			return drawIssuer(t)
		case registry.KindScope:
			return drawScope(t)
		case registry.KindGroup:
			return drawGroup(t)
		case registry.KindRevocation:
			return drawRevocation(t)
		case registry.KindTask:
			return &registry.Task{
				Name:   rapid.SampledFrom(Names(registry.KindTask)).Draw(t, "name"),
				Server: "weather", Owner: rapid.SampledFrom([]string{"", "o1", "o2"}).Draw(t, "owner"),
				ExpiresAt: rapid.Int64Range(1, 3).Draw(t, "expires"),
			}
		default:
			return &registry.SessionKey{
				Name:   rapid.SampledFrom([]string{"k1", "k2"}).Draw(t, "name"),
				Secret: rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "secret"),
			}
		}
	})
}

// Names returns the pool of names of a kind.
func Names(kind registry.Kind) []string {
	switch kind {
	case registry.KindServer:
		return []string{"a", "b", "c-1", "0"}
	case registry.KindIssuer:
		return []string{"corp", "dev"}
	case registry.KindScope:
		return []string{"a:read", "a:write", "true", "~", "{x}"}
	case registry.KindGroup:
		return []string{"/lob/users", "CN=Ünïcode, DC=x", "null", "1", "- a"}
	case registry.KindRevocation:
		return []string{"r-1", "stolen"}
	case registry.KindTask:
		return []string{"t1", "t2"}
	default:
		return []string{"k1", "k2"}
	}
}

func drawName(t *rapid.T, kind registry.Kind) string {
	return rapid.SampledFrom(Names(kind)).Draw(t, "name")
}

func drawNames(t *rapid.T, kind registry.Kind, most int) []string {
	return orNil(rapid.SliceOfNDistinct(rapid.SampledFrom(Names(kind)), 0, most, rapid.ID[string]).Draw(t, "names"))
}

func orNil[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

// texts mixes ordinary text with what trips readers and writers of YAML.
func texts() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{
			"", "yes", "null", "~", "true", "0x1f", "1e3", "2020-01-01", "<<", "---", "--- a", "...", "- a", "a: b", "a #b", "#a", " a", "a ", "'", `"`, "''", `\`, "|", ">", "%a", "@a", "`", "&a", "*a", "!a", "?", "[", "{}", ",", "=",
			"😀", "日本", "é", "\ufffd\ufffd",
		}),
		rapid.StringMatching(`[ -~]{0,80}`),
		rapid.StringOfN(rapid.SampledFrom([]rune("ab :-#'\"|>&*!%@`\\[]{},?é😀")), 0, 40, -1),
	)
}

func multiline() *rapid.Generator[string] {
	return rapid.OneOf(texts(), rapid.Map(rapid.SliceOfN(rapid.OneOf(texts(), rapid.SampledFrom([]string{"", "\t", "  ", "a\t"})), 0, 5), func(lines []string) string {
		return strings.Join(lines, "\n")
	}))
}

func nonEmpty(g *rapid.Generator[string]) *rapid.Generator[string] {
	return g.Filter(func(s string) bool { return s != "" && len(s) <= 64 })
}

func distinctTexts(t *rapid.T, label string) []string {
	return orNil(rapid.SliceOfNDistinct(nonEmpty(texts()), 0, 4, rapid.ID[string]).Draw(t, label))
}

func drawServer(t *rapid.T) registry.Resource {
	s := &registry.Server{
		Name: drawName(t, registry.KindServer), Title: texts().Draw(t, "title"), Description: multiline().Draw(t, "description"), Tags: distinctTexts(t, "tags"),
		Upstream: registry.Upstream{
			URL:            rapid.SampledFrom([]string{"http://127.0.0.1:1/mcp", "http://h", "http://[::1]:80/a%20b"}).Draw(t, "url"),
			ConnectTimeout: registry.Duration(rapid.SampledFrom([]time.Duration{0, time.Second, 1500 * time.Millisecond}).Draw(t, "connectTimeout")),
		},
		Access: registry.Access{Issuers: drawNames(t, registry.KindIssuer, 2), Audiences: distinctTexts(t, "audiences"), BaselineScopes: drawNames(t, registry.KindScope, 2)},
	}
	if rapid.Bool().Draw(t, "https") {
		s.Upstream.URL = "https://h:8443/mcp"
		s.Upstream.TLS = &registry.TLS{ServerName: rapid.SampledFrom([]string{"", "h"}).Draw(t, "serverName")}
	}
	if rapid.Bool().Draw(t, "credential") {
		s.Upstream.Credential = &registry.Credential{Header: rapid.SampledFrom([]string{"", "X-Key"}).Draw(t, "header"), Secret: "env:KEY"}
	} else {
		s.Upstream.ForwardClientToken = rapid.Bool().Draw(t, "forward")
	}
	if s.Upstream.Credential == nil && !s.Upstream.ForwardClientToken && rapid.Bool().Draw(t, "exchange") {
		s.Upstream.Exchange = &registry.Exchange{ //nolint:gosec // G101 takes a reference for a secret
			TokenURL: "https://i/token", ClientID: nonEmpty(texts()).Draw(t, "clientID"), ClientSecret: "env:SECRET",
			Audience: texts().Draw(t, "audience"), Scopes: drawNames(t, registry.KindScope, 2),
		}
	}
	if rapid.Bool().Draw(t, "set") {
		enabled := rapid.Bool().Draw(t, "enabled")
		s.Enabled = &enabled
	}
	return s
}

func drawIssuer(t *rapid.T) registry.Resource {
	paths := func(label string) []registry.ClaimPath {
		key := nonEmpty(texts())
		path := rapid.Map(rapid.SliceOfN(key, 1, 3), func(keys []string) registry.ClaimPath { return keys })
		return orNil(rapid.SliceOfN(path, 0, 3).Draw(t, label))
	}
	if rapid.Bool().Draw(t, "introspection") {
		return &registry.Issuer{
			Name: drawName(t, registry.KindIssuer), Issuer: "https://i/r", AudienceFrom: rapid.SampledFrom([]registry.AudienceFrom{"", registry.AudienceFromClient}).Draw(t, "audienceFrom"),
			Claims:        registry.Claims{TokenID: paths("tokenID"), Session: paths("session")},
			Introspection: &registry.Introspection{URL: "https://i/introspect", ClientID: nonEmpty(texts()).Draw(t, "clientID"), ClientSecret: "file:/run/secret"},
		}
	}
	return &registry.Issuer{
		Name: drawName(t, registry.KindIssuer), Issuer: rapid.SampledFrom([]string{"https://i/r", "http://localhost:1"}).Draw(t, "issuer"),
		Audiences:  distinctTexts(t, "audiences"),
		Algorithms: orNil(rapid.SliceOfNDistinct(rapid.SampledFrom(registry.DefaultAlgorithms()), 0, 3, rapid.ID[string]).Draw(t, "algorithms")),
		Claims:     registry.Claims{Subject: paths("subject"), Scopes: paths("scopes"), Groups: paths("groups")},
		Keys:       registry.Keys{Refresh: registry.Duration(rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "refresh"))},
	}
}

func drawScope(t *rapid.T) registry.Resource {
	s := &registry.Scope{Name: drawName(t, registry.KindScope), Description: multiline().Draw(t, "description")}
	for _, name := range drawNames(t, registry.KindScope, 2) {
		if name != s.Name {
			s.Includes = append(s.Includes, name)
		}
	}
	patterns := func(label string) []registry.Pattern {
		exact := rapid.Map(nonEmpty(texts()), func(s string) registry.Pattern { return registry.Pattern(strings.ReplaceAll(s, "*", "_")) })
		prefix := rapid.Map(texts(), func(s string) registry.Pattern { return registry.Pattern(strings.ReplaceAll(s, "*", "_") + "*") })
		return orNil(rapid.SliceOfNDistinct(rapid.OneOf(exact, prefix), 0, 3, rapid.ID[registry.Pattern]).Draw(t, label))
	}
	for range rapid.IntRange(0, 2).Draw(t, "rules") {
		r := registry.Rule{Servers: drawNames(t, registry.KindServer, 2), Tools: patterns("tools"), Prompts: patterns("prompts"), Resources: patterns("resources")}
		if r.Servers == nil {
			r.Servers = []string{registry.AnyServer}
		}
		s.Rules = append(s.Rules, r)
	}
	return s
}

func drawGroup(t *rapid.T) registry.Resource {
	return &registry.Group{
		Name:   drawName(t, registry.KindGroup),
		Issuer: rapid.SampledFrom(append(Names(registry.KindIssuer), "")).Draw(t, "issuer"),
		Scopes: drawNames(t, registry.KindScope, 3),
	}
}

func drawRevocation(t *rapid.T) registry.Resource {
	at := func(label string) registry.Time {
		return rapid.SampledFrom([]registry.Time{{}, {Time: time.Unix(1e9, 0).UTC()}, {Time: time.Unix(2e9, 5e8).UTC()}}).Draw(t, label)
	}
	r := &registry.Revocation{
		Name: drawName(t, registry.KindRevocation), Issuer: rapid.SampledFrom(append(Names(registry.KindIssuer), "")).Draw(t, "issuer"),
		Subject: texts().Draw(t, "subject"), Client: texts().Draw(t, "client"), TokenID: texts().Draw(t, "tokenID"), Session: texts().Draw(t, "session"),
		IssuedBefore: at("issuedBefore"), Until: at("until"), Reason: multiline().Draw(t, "reason"),
	}
	if r.Issuer+r.Subject+r.Client+r.TokenID+r.Session == "" {
		r.Subject = "somebody"
	}
	return r
}
