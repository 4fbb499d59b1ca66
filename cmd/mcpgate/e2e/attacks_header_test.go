package e2e_test

import (
	"fmt"
	"strings"
)

// headerRows are F7, F10 to F12 and F16, and the duplicates of E2 §4: what a
// client can say in headers, and what of it arrives.
func headerRows() []row {
	good := func() verdict { return allowed("a", "/up/a") }
	rows := []row{
		{name: "E2 §5: identity headers of the client", http1: post1("/a/mcp", "X-Mcpgate-Subject: eve", "x-mcpgate-scopes: admin", "X-MCPGATE-CLIENT: evil", "X-Mcpgate: 1", "X-Mcpgate-Other: 1"), want: with(good(), "x-mcpgate-scopes", "use")},
		{name: "E2 §5: identity header twice", http1: post1("/a/mcp", "X-Mcpgate-Subject: eve", "X-Mcpgate-Subject: mallory"), want: good()},
		{name: "E2 §5: x-forwarded-for is appended to", http1: post1("/a/mcp", "X-Forwarded-For: 192.0.2.1"), want: without(good(), "x-forwarded-for", "192.0.2.1")},
		{name: "E2 §5: x-forwarded-proto is Envoy's", http1: post1("/a/mcp", "X-Forwarded-Proto: https"), want: with(good(), "x-forwarded-proto", "http")},
		{name: "E2 §5: x-forwarded-client-cert is removed", http1: post1("/a/mcp", "X-Forwarded-Client-Cert: By=spiffe://x"), want: with(good(), "x-forwarded-client-cert", "(absent)")},
		{name: "E2 §5: x-request-id is Envoy's", http1: post1("/a/mcp", "X-Request-Id: mine"), want: without(good(), "x-request-id", "mine")},
		{name: "E2 §5: TE", http1: post1("/a/mcp", "TE: trailers", "TE: gzip"), want: good()},
		{name: "F16: partial body, said by the client", http1: post1("/a/mcp", "X-Envoy-Auth-Partial-Body: true"), want: good()},
		{name: "F16: partial body denied by the client without one", http1: post1("/a/mcp", "-Content-Length", "X-Envoy-Auth-Partial-Body: false"), want: refused(400, "body-empty")},

		{name: "E2 §4: Authorization twice (CVE-2026-26308)", http1: post1("/a/mcp", "Authorization: Bearer two"), want: refused(401, "token-duplicate")},
		{name: "E2 §4: comma in Authorization", http1: post1("/a/mcp", "-Authorization", "Authorization: Bearer {token},Bearer two"), want: refused(401, "token-duplicate")},
		{name: "E2 §4: Content-Type twice", http1: post1("/a/mcp", "Content-Type: text/plain"), want: refused(415, "content-type")},
		{name: "E2 §4: Content-Type twice, equal", http1: post1("/a/mcp", "Content-Type: application/json"), want: refused(415, "content-type")},
		{name: "E2 §4: Mcp-Name twice", http1: post1("/a/mcp", "Mcp-Name: get_forecast", "Mcp-Name: set_alert"), want: refused(400, "header-duplicate")},
		{name: "E2 §4: Mcp-Name twice, equal", http1: post1("/a/mcp", "Mcp-Name: get_forecast", "Mcp-Name: get_forecast"), want: refused(400, "header-duplicate")},
		{name: "E2 §4: Mcp-Method twice", http1: post1("/a/mcp", "Mcp-Method: tools/call", "Mcp-Method: ping"), want: refused(400, "header-duplicate")},
		{name: "E2 §4: Mcp-Session-Id twice", http1: post1("/a/mcp", "Mcp-Session-Id: 1", "Mcp-Session-Id: 2"), want: refused(400, "header-duplicate")},
		{name: "E2 §4: MCP-Protocol-Version twice", http1: post1("/a/mcp", "MCP-Protocol-Version: 2025-11-25", "MCP-Protocol-Version: 2025-06-18"), want: refused(400, "header-duplicate")},
		{name: "E2 §4: Cookie twice", http1: post1("/a/mcp", "Cookie: a=1", "Cookie: b=2"), want: good()},
		{name: "E2 §4: empty value", http1: post1("/a/mcp", "X-Note:"), want: with(good(), "x-note", "")},
		{name: "E2 §4: blanks around a value", http1: post1("/a/mcp", "X-Note: \t a b \t"), want: with(good(), "x-note", "a b")},
		{name: "E2 §4: folded value", http1: post1("/a/mcp", "X-Note: a\r\n b"), want: with(good(), "x-note", "a b")},
		{name: "E2 §4: other headers pass, in order", http1: post1("/a/mcp", "X-Note: 1", "X-Note: 2"), want: with(good(), "x-note", `["1" "2"]`)},
		{name: "F12: a byte that is not UTF-8 passes as it is", http1: post1("/a/mcp", "X-Note: a\xffb"), want: with(good(), "x-note", "a\xffb")},

		{name: "F12: Mcp-Name with a byte that is not UTF-8", http1: post1("/a/mcp", "Mcp-Name: get_forecast\xff"), want: refused(400, "mirror-mismatch")},
		{name: "attacks §4.1: Mcp-Name is another tool", http1: post1("/a/mcp", "Mcp-Name: list_alerts"), want: refused(400, "mirror-mismatch")},
		{name: "attacks §4.1: Mcp-Name in other letters", http1: post1("/a/mcp", "Mcp-Name: Get_forecast"), want: refused(400, "mirror-mismatch")},
		{name: "attacks §4.1: Mcp-Method is another method", http1: post1("/a/mcp", "Mcp-Method: tools/list"), want: refused(400, "mirror-mismatch")},
		{name: "attacks §4.1: Mcp-Method and Mcp-Name agree", http1: post1("/a/mcp", "Mcp-Method: tools/call", "Mcp-Name: get_forecast"), want: with(good(), "mcp-name", "get_forecast")},
		{name: "attacks §4.1: Mcp-Name in base64 agrees", http1: post1("/a/mcp", "Mcp-Name: =?base64?Z2V0X2ZvcmVjYXN0?="), want: good()},
		{name: "attacks §4.1: version that nobody knows", http1: post1("/a/mcp", "MCP-Protocol-Version: 2099-01-01"), want: refused(400, "version-unsupported")},
		{name: "attacks §4.1: modern version without _meta", http1: post1("/a/mcp", "MCP-Protocol-Version: 2026-07-28"), want: refused(400, "meta-missing")},
		{name: "design §6.1: session id of nobody", http1: post1("/a/mcp", "Mcp-Session-Id: 1868a90c"), want: refused(404, "session-unknown")},
		{name: "design §6.1: session id with a forged binding", http1: post1("/a/mcp", "Mcp-Session-Id: v1.00000000.MTIz.AAAAAAAAAAAAAAAAAAAAAA"), want: refused(404, "session-unknown")},

		{name: "E6 row 10: foreign Origin", http1: post1("/a/mcp", "Origin: https://evil.example"), want: refused(403, "origin")},
		{name: "E2 §7: Origin twice", http1: post1("/a/mcp", "Origin: https://app.example", "Origin: https://app.example"), want: refused(403, "origin")},
		{name: "E2 §7: Origin null", http1: post1("/a/mcp", "Origin: null"), want: refused(403, "origin")},
		{name: "E2 §7: Origin with a prefix of an allowed one", http1: post1("/a/mcp", "Origin: https://app.example.evil"), want: refused(403, "origin")},

		{name: "F7, F10, F11: the upstream's credential, once, in place of the token", http1: post1("/cred/mcp", "Cookie: a=1"), want: with(allowed("cred", "/up/cred"), "authorization", "Bearer "+upstreamSecret)},
		{name: "F7: credential in a header of its own", http1: post1("/apikey/mcp", "X-Api-Key: mine", "X-Api-Key: too"), want: with(allowed("apikey", "/up/apikey"), "x-api-key", upstreamSecret)},
		{name: "E2 §4: forwardClientToken", http1: post1("/fwd/mcp"), want: with(allowed("fwd", "/up/fwd"), "authorization", "Bearer {token}")},
	}
	for _, h := range []string{
		"x-http-method-override: DELETE", "x-http-method: DELETE", "x-method-override: DELETE", "x-original-url: /b/mcp", "x-original-path: /b/mcp", "x-original-method: GET",
		"x-rewrite-url: /b/mcp", "x-forwarded-host: evil.test", "x-forwarded-port: 1", "x-forwarded-prefix: /b", "x-forwarded-uri: /b/mcp", "forwarded: host=evil.test", "x-real-ip: 192.0.2.1",
		"proxy-authorization: Basic eDp5", "x-envoy-original-path: /b/mcp", "x-envoy-retry-on: 5xx", "x-envoy-upstream-rq-timeout-ms: 1", "x-envoy-external-address: 192.0.2.1", "x-envoy-internal: maybe",
		"x-envoy-attempt-count: 7", "x-envoy-original-dst-host: 192.0.2.1:1", "x-envoy-peer-metadata: x", "x-envoy-decorator-operation: x", "x-envoy-other: 1",
	} {
		name, value, _ := strings.Cut(h, ": ")
		want := with(good(), name, "(absent)")
		if name == "x-envoy-external-address" || name == "x-envoy-internal" {
			want = without(good(), name, value)
		}
		rows = append(rows, row{name: "F16: " + name, http1: post1("/a/mcp", h), want: want})
	}
	for _, c := range []struct {
		value string
		good  bool
	}{
		{"application/json; charset=utf-8", true},
		{"application/json;charset=UTF-8", true},
		{`application/json; charset="utf-8"`, true},
		{"APPLICATION/JSON", true},
		{"text/plain", false},
		{"application/json; charset=utf-16", false},
		{"application/json; charset=utf-8; charset=utf-16", false},
		{"application/json; boundary=x", false},
		{"application/json,", false},
		{"application/json;", false},
		{"application/vnd.api+json", false},
		{"application/json-rpc", false},
		{"multipart/form-data; boundary=application/json", false},
		{"", false},
	} {
		want := good()
		if !c.good {
			want = refused(415, "content-type")
		}
		rows = append(rows, row{name: fmt.Sprintf("attacks §4.1: Content-Type %q", c.value), http1: post1("/a/mcp", "-Content-Type", "Content-Type: "+c.value), want: want})
	}
	rows = append(rows, row{name: "attacks §4.1: no Content-Type", http1: post1("/a/mcp", "-Content-Type"), want: refused(415, "content-type")})
	for value, ok := range map[string]bool{"identity": true, "gzip": false, "identity, gzip": false, "br": false, "aws-chunked": false} {
		want := with(good(), "content-encoding", "(absent)")
		if !ok {
			want = refused(415, "content-encoding")
		}
		rows = append(rows, row{name: "attacks §4.1: Content-Encoding " + value, http1: post1("/a/mcp", "Content-Encoding: "+value), want: want})
	}
	for i := range rows {
		if rows[i].want.rule != "body-empty" {
			rows[i].body = goodCall
		}
	}
	return append(rows,
		row{name: "E2 §9: too many headers", http1: post1("/a/mcp", strings.Split(strings.TrimSpace(strings.Repeat("X-Note: 1\n", 70)), "\n")...), body: goodCall, want: unasked(431)},
		row{name: "E2 §9: headers too large", http1: post1("/a/mcp", "X-Note: "+strings.Repeat("a", 40<<10)), body: goodCall, want: unasked(431)},
	)
}

// without adds a value that the upstream must not get.
func without(v verdict, name, value string) verdict {
	if v.gotNot == nil {
		v.gotNot = map[string]string{}
	}
	v.gotNot[name] = value
	return v
}
