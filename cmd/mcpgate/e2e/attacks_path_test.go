package e2e_test

// pathForm is a form of the request target and who serves it.
type pathForm struct {
	name, target string
	// server is "a", "b", or "" when nobody serves it, with status.
	server string
	// query follows the path, to the upstream too.
	query  string
	status int
}

// pathForms are E1 §4 and the first table of E2 §5, in this layout: the first
// element of the normalised path is the server, and the whole path is matched.
func pathForms() []pathForm {
	a := func(name, target string) pathForm { return pathForm{name: name, target: target, server: "a"} }
	b := func(name, target string) pathForm { return pathForm{name: name, target: target, server: "b"} }
	query := func(name, q string) pathForm {
		return pathForm{name: name, target: "/a/mcp" + q, server: "a", query: q}
	}
	none := func(status int, name, target string) pathForm {
		return pathForm{name: name, target: target, status: status}
	}
	return []pathForm{
		a("plain", "/a/mcp"),
		query("query", "?x=1"),
		query("query with another server's path", "?x=/b/mcp"),
		query("query that begins twice", "??"),
		query("query with dots", "?../../b/mcp"),
		a("double slash at the start (CVE-2026-26205)", "//a/mcp"),
		a("slashes everywhere", "///a//mcp"),
		a("dot segment", "/./a/mcp"),
		a("escaped dot segment", "/%2e/a/mcp"),
		a("dot segment inside", "/a/./mcp"),
		a("up and down", "/x/../a/mcp"),
		a("above the root", "/../a/mcp"),
		a("far above the root", "/../../a/mcp"),
		a("back at the end", "/a/mcp/../mcp"),
		a("through b", "/b/../a/mcp"),
		a("escaped letter in the server", "/%61/mcp"),
		a("escaped letter in the endpoint", "/a/%6dcp"),
		a("backslash", `/a\mcp`),
		a("backslash dots", `/b\..\a\mcp`),
		a("out of healthz (CVE-2025-54576)", "/healthz/../a/mcp"),
		a("out of the metadata, which needs no token", "/.well-known/oauth-protected-resource/../../a/mcp"),
		a("out of the metadata, escaped", "/.well-known/oauth-protected-resource/%2e%2e/%2E%2e/a/mcp"),

		b("from a to b", "/a/../b/mcp"),
		b("from a to b, escaped", "/a/%2e%2e/b/mcp"),
		b("from a to b, escaped in capitals", "/a/%2E%2E/b/mcp"),
		b("from a to b, half escaped", "/a/.%2e/b/mcp"),
		b("from a to b by a parameter (CVE-2026-73553)", "/a/..;/b/mcp"),
		b("from a to b by a named parameter", "/a/..;a=b/b/mcp"),
		b("from a to b by backslashes", `/a\..\b/mcp`),
		b("dot with a parameter", "/b/.;/mcp"),

		none(404, "slash at the end", "/a/mcp/"),
		none(404, "more below the endpoint", "/a/mcp/x"),
		none(404, "server alone", "/a"),
		none(404, "server and slash", "/a/"),
		none(404, "server and query", "/a?x=1"),
		none(404, "endpoint in the query", "/a?x=/mcp"),
		none(404, "root", "/"),
		none(404, "server in capitals", "/A/mcp"),
		none(404, "endpoint in capitals", "/a/MCP"),
		none(404, "parameter in the server (CVE-2026-73551)", "/a;a=b/mcp"),
		none(404, "parameter in the endpoint", "/a/mcp;a=b"),
		none(404, "twice escaped dots", "/a/%252e%252e/b/mcp"),
		none(404, "twice escaped slash", "/a%252fmcp"),
		none(404, "escaped space", "/a/mcp%20"),
		none(404, "escaped number sign", "/a/mcp%23x"),
		none(404, "escaped question mark", "/a/mcp%3fx"),
		none(404, "escaped UTF-8", "/a/mcp%C3%A9"),
		none(404, "overlong UTF-8 of a slash", "/a%C0%AFmcp"),
		none(404, "not hexadecimal", "/a/mcp%zz"),
		none(404, "escape of another kind", "/a/%u006dcp"),
		none(404, "unknown server", "/none/mcp"),
		none(404, "disabled server", "/off/mcp"),
		none(404, "the program's own API", "/api/v1/servers"),
		none(404, "below healthz", "/healthz/a/mcp"),
		none(404, "no-decision is no server", "/no-decision/mcp"),

		none(400, "escaped slash (CVE-2021-29492)", "/a%2Fmcp"),
		none(400, "escaped slash in small letters", "/a%2fmcp"),
		none(400, "escaped backslash", "/a%5Cmcp"),
		none(400, "escaped NUL", "/a/mcp%00"),
		none(400, "fragment (CVE-2021-32779)", "/a/mcp#frag"),
		none(400, "fragment before the endpoint", "/a#/mcp"),
	}
}

// verdict is what becomes of a call to the form.
func (f pathForm) verdict() verdict {
	if f.server == "" {
		return unasked(f.status)
	}
	return allowed(f.server, "/up/"+f.server+f.query)
}

func pathRows() []row {
	var rows []row
	for _, f := range pathForms() {
		rows = append(rows, row{name: "E1 §4, E2 §5: " + f.name, http1: post1(f.target), body: goodCall, want: f.verdict()})
	}
	for _, f := range []struct {
		name, target string
		want         verdict
	}{
		{"absolute form", "http://gw.test/a/mcp", allowed("a", "/up/a")},
		{"absolute form with double slash", "http://gw.test//a/mcp", allowed("a", "/up/a")},
		{"absolute form with a port", "http://gw.test:8443/a/mcp", allowed("a", "/up/a")},
		{"absolute form with user information", "http://user:pw@gw.test/a/mcp", allowed("a", "/up/a")},
		{"absolute form of another host wins over Host", "http://evil.test/a/mcp", unasked(404)},
		{"absolute form of https on clear text", "https://gw.test/a/mcp", unasked(403)},
		{"absolute form of ftp", "ftp://gw.test/a/mcp", unasked(400)},
		{"absolute form without a host", "http:///a/mcp", unasked(400)},
		{"no slash", "a/mcp", unasked(400)},
		{"asterisk", "*", unasked(400)},
		{"empty", "", unasked(400)},
		{"space inside", "/a/mcp /b/mcp", unasked(400)},
		{"control character", "/a/mcp\x01", unasked(400)},
		{"byte above ASCII", "/a/mcp\xff", unasked(400)},
	} {
		rows = append(rows, row{name: "E2 §5: " + f.name, http1: post1(f.target), body: goodCall, want: f.want})
	}
	return append(rows,
		row{name: "E1 §4: OPTIONS *", http1: request1("OPTIONS", "*"), want: unasked(404)},
		row{name: "E1 §4: GET *", http1: request1("GET", "*"), want: unasked(400)},
		row{name: "E2 §5: CONNECT with a path", http1: request1("CONNECT", "/a/mcp"), want: unasked(400)},
	)
}

// pathRows2 are the same over HTTP/2, where they differ as E1 §4 says.
func pathRows2() []row {
	var rows []row
	for _, f := range pathForms() {
		rows = append(rows, row{name: "E1 §4, E2 §5: " + f.name, http2: post2(f.target), body: goodCall, want: f.verdict()})
	}
	for _, f := range []struct {
		name, target string
		want         verdict
	}{
		{"byte above ASCII", "/a/mcp\xff", unasked(404)},
		{"no slash", "a/mcp", unasked(0)},
		{"asterisk", "*", unasked(0)},
		{"empty", "", unasked(0)},
		{"absolute form (CVE-2026-33186)", "http://gw.test/a/mcp", unasked(0)},
		{"control character", "/a/mcp\x01", unasked(0)},
		{"line break", "/a/mcp\r\nx-mcpgate-subject: eve", unasked(0)},
	} {
		rows = append(rows, row{name: "E2 §5: " + f.name, http2: post2("/", "-:path", ":path: "+f.target), body: goodCall, want: f.want})
	}
	connect := frames{fields: []field{{":method", "CONNECT"}, {":authority", "a:443"}, {"x-case", "{case}"}, {"authorization", "Bearer {token}"}}}
	extended := frames{fields: []field{
		{":method", "CONNECT"},
		{":protocol", "websocket"},
		{":scheme", "http"},
		{":authority", "gw.test"},
		{":path", "/a/mcp"},
		{"x-case", "{case}"},
		{"authorization", "Bearer {token}"},
	}}
	return append(rows,
		row{name: "E2 §5: path twice", http2: post2("/a/mcp", ":path: /b/mcp"), body: goodCall, want: unasked(0)},
		row{name: "E2 §5: no path", http2: post2("/a/mcp", "-:path"), body: goodCall, want: unasked(0)},
		row{name: "E2 §5: CONNECT", http2: connect, want: unasked(404)},
		row{name: "E2 §5: extended CONNECT", http2: extended, want: unasked(0)},
	)
}

// slowRows are requests that never end, F17: they are held for a bounded time,
// and nobody is asked. They are sent first, since they take that long.
func slowRows() []row {
	short := post1("/a/mcp", "-Content-Length", "Content-Length: 500")
	return []row{
		{name: "F17: header without an end", http1: "POST /a/mcp HTTP/1.1\r\nHost: gw.test\r\nX-Case: {case}\r\n", want: unasked(408)},
		{name: "F17: body without an end", http1: short, body: goodCall, want: unasked(408)},
		// To the buffer a tunnel is a body without an end.
		{name: "F13: CONNECT to a server", http1: request1("CONNECT", "a:443"), want: unasked(408)},
	}
}
