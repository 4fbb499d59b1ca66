package e2e_test

import "strings"

const pageOrigin = "https://app.example"

// corsRows are E6 §3 row 10: preflights, what a page may read, metadata and
// health.
func corsRows(g *table) []row {
	exposed := "WWW-Authenticate, Mcp-Session-Id, Retry-After"
	readable := func(v verdict) verdict {
		v.header = map[string]string{"Access-Control-Allow-Origin": pageOrigin, "Access-Control-Expose-Headers": exposed, "Vary": "Origin"}
		return v
	}
	// Without a route there is no policy: the mappers say it for everyone.
	open := func(v verdict) verdict {
		v.header = map[string]string{"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": exposed}
		return v
	}
	preflight := func(path, origin string, headers ...string) string {
		edits := append([]string{"-Authorization", "Origin: " + origin, "Access-Control-Request-Method: POST"}, headers...)
		return request1("OPTIONS", path, edits...)
	}
	page := "Origin: " + pageOrigin
	prm := "/.well-known/oauth-protected-resource"
	metadata := func(v verdict, acao string) verdict {
		v.header = map[string]string{"Access-Control-Allow-Origin": acao, "Content-Type": "application/json"}
		return v
	}
	rows := []row{
		{name: "preflight", http1: preflight("/a/mcp", pageOrigin, "Access-Control-Request-Headers: authorization,mcp-param-region"), want: verdict{status: 200, noBody: true, header: map[string]string{
			"Access-Control-Allow-Origin": pageOrigin, "Access-Control-Allow-Methods": "GET, POST, DELETE, OPTIONS", "Access-Control-Allow-Headers": "authorization,mcp-param-region",
		}}},
		{name: "preflight of a foreign page", http1: preflight("/a/mcp", "https://evil.example"), want: verdict{status: 200, noBody: true, header: map[string]string{"Access-Control-Allow-Origin": ""}}},
		{name: "preflight of a page with two origins", http1: preflight("/a/mcp", pageOrigin, page), want: verdict{status: 200, noBody: true, header: map[string]string{"Access-Control-Allow-Origin": ""}}},
		{name: "OPTIONS that is no preflight", http1: request1("OPTIONS", "/a/mcp", page), want: readable(refused(405, "verb"))},
		{name: "200 is readable", http1: post1("/a/mcp", page), body: goodCall, want: readable(allowed("a", "/up/a"))},
		{name: "401 is readable", http1: post1("/a/mcp", "-Authorization", page), body: goodCall, want: readable(refused(401, "token-missing"))},
		{name: "403 is readable", http1: post1("/a/mcp", page), body: call("set_alert"), want: readable(refused(403, "scope-insufficient"))},
		{name: "413 is readable", http1: post1("/a/mcp", page), body: padded(bodyLimit + 1), want: readable(unasked(413))},
		{name: "403 of a foreign page is not", http1: post1("/a/mcp", "Origin: https://evil.example"), body: goodCall, want: func() verdict {
			v := refused(403, "origin")
			v.header = map[string]string{"Access-Control-Allow-Origin": ""}
			return v
		}()},
		{name: "404 of an unknown server", http1: post1("/none/mcp", page), body: goodCall, want: open(unasked(404))},
		{name: "400 of the codec", http1: post1("/a%2fmcp", page), body: goodCall, want: open(unasked(400))},
		{name: "403 of an upgrade", http1: post1("/a/mcp", page, "Connection: Upgrade", "Upgrade: websocket"), body: goodCall, want: unasked(403)},

		{name: "metadata", http1: request1("GET", prm+"/a/mcp", "-Authorization", page), want: metadata(verdict{status: 200}, "*")},
		{name: "metadata of a foreign page", http1: request1("GET", prm+"/a/mcp", "-Authorization", "Origin: https://any.example"), want: metadata(verdict{status: 200}, "*")},
		{name: "metadata, HEAD", http1: request1("HEAD", prm+"/a/mcp"), want: metadata(verdict{status: 200, noBody: true}, "*")},
		{name: "metadata, preflight", http1: preflight(prm+"/a/mcp", "https://any.example", "Access-Control-Request-Headers: mcp-protocol-version"), want: verdict{status: 204, noBody: true, header: map[string]string{"Access-Control-Allow-Origin": "*"}}},
		{name: "metadata of an unknown server", http1: request1("GET", prm+"/none/mcp"), want: metadata(verdict{status: 404, noBody: true}, "*")},
		{name: "metadata of a disabled server", http1: request1("GET", prm+"/off/mcp"), want: metadata(verdict{status: 404, noBody: true}, "*")},
		{name: "metadata with a slash at the end", http1: request1("GET", prm+"/a/mcp/"), want: metadata(verdict{status: 404, noBody: true}, "*")},
		{name: "metadata of a foreign Host", http1: request1("GET", prm+"/a/mcp", "-Host", "Host: evil.test"), want: unasked(404)},
		{name: "other well-known paths", http1: request1("GET", "/.well-known/openid-configuration"), want: unasked(404)},
		{name: "health", http1: request1("GET", "/healthz", "-Authorization"), want: verdict{status: 200, header: map[string]string{"Content-Type": "application/json"}}},
		{name: "CVE-2026-34457: a health checker's User-Agent selects nothing", http1: post1("/a/mcp", "-Authorization", "User-Agent: GoogleHC/1.0"), body: goodCall, want: refused(401, "token-missing")},
	}
	for i := range rows {
		rows[i].name = "E6 row 10: " + rows[i].name
	}
	// The limit of the body holds where ext_authz is off, too.
	return append(rows, row{
		name: "E2 §8: body limit of the metadata", http1: request1("POST", prm+"/a/mcp", "Content-Type: application/json"), body: strings.Repeat("x", bodyLimit+1), want: unasked(413),
	})
}
