package e2e_test

import (
	"fmt"
	"strings"
)

// chunked is a body in chunks of HTTP/1.1.
func chunked(body string, sizes ...int) string {
	var b strings.Builder
	for _, n := range sizes {
		n = min(n, len(body))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	if body != "" {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(body), body)
	}
	return b.String() + "0\r\n\r\n"
}

// wireRows are the second table of E2 §5 over HTTP/1.1: what a request can do
// to the reading of a request.
func wireRows() []row {
	rows := []row{
		{name: "E2 §5: Connection names an identity header (CVE-2025-48865)", http1: post1("/a/mcp", "Connection: close, x-mcpgate-subject"), want: allowed("a", "/up/a")},
		{name: "E2 §5: Connection names authorization", http1: post1("/a/mcp", "Connection: close, authorization"), want: refused(401, "token-missing")},
		{name: "E2 §5: Connection names host", http1: post1("/a/mcp", "Connection: close, host"), want: unasked(400)},
		{name: "E2 §5: Connection names content-length", http1: post1("/a/mcp", "Connection: close, content-length"), want: allowed("a", "/up/a")},
		{name: "E2 §5: underscore in a name (CVE-2025-64484)", http1: post1("/a/mcp", "X_Mcpgate_Subject: eve"), want: unasked(400)},
		{name: "E2 §5: underscore in any name", http1: post1("/a/mcp", "X_Note: 1"), want: unasked(400)},
		{name: "E2 §5, F13: upgrade to websocket", http1: post1("/a/mcp", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), want: unasked(403)},
		{name: "E2 §5, F13: GET with upgrade to websocket", http1: request1("GET", "/a/mcp", "Connection: Upgrade", "Upgrade: websocket"), want: unasked(403)},
		{name: "E2 §5: upgrade to h2c is a plain request", http1: post1("/a/mcp", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), want: with(allowed("a", "/up/a"), "upgrade", "(absent)")},
		{name: "E2 §5: Upgrade without Connection is dropped", http1: post1("/a/mcp", "Upgrade: websocket"), want: with(allowed("a", "/up/a"), "upgrade", "(absent)")},
		{name: "E2 §5: NUL in a value (CVE-2019-9900)", http1: post1("/a/mcp", "X-Note: a\x00b"), want: unasked(400)},
		{name: "E2 §5: bad character in a name", http1: post1("/a/mcp", "X(Note: 1"), want: unasked(400)},
		{name: "E2 §5: blank before the colon", http1: post1("/a/mcp", "X-Note : 1"), want: unasked(400)},
		{name: "E2 §5: empty name", http1: post1("/a/mcp", ": 1"), want: unasked(400)},
		{name: "E2 §5: pseudo-header as a header", http1: post1("/a/mcp", ":path: /b/mcp"), want: unasked(400)},
		{name: "E2 §5: bare CR in a value is removed", http1: post1("/a/mcp", "X-Note: a\rb"), want: with(allowed("a", "/up/a"), "x-note", "ab")},
		{name: "E2 §5: bare LF begins another header, which is stripped", http1: post1("/a/mcp", "X-Note: a\nX-Mcpgate-Subject: eve"), want: with(allowed("a", "/up/a"), "x-note", "a")},
		{name: "E2 §5: Content-Length twice, equal", http1: post1("/a/mcp", "Content-Length: {length}"), want: unasked(400)},
		{name: "E2 §5: Content-Length twice, different", http1: post1("/a/mcp", "Content-Length: 5"), want: unasked(400)},
		{name: "E2 §5: Content-Length is a list", http1: post1("/a/mcp", "-Content-Length", "Content-Length: {length}, {length}"), want: unasked(400)},
		{name: "E2 §5: Content-Length with a sign", http1: post1("/a/mcp", "-Content-Length", "Content-Length: +{length}"), want: unasked(400)},
		{name: "E2 §5: Content-Length and chunked", http1: post1("/a/mcp", "Transfer-Encoding: chunked"), want: unasked(400)},
		{name: "E2 §5: HTTP/1.0", http1: strings.Replace(post1("/a/mcp"), "HTTP/1.1", "HTTP/1.0", 1), want: unasked(426)},
		{name: "E2 §5: HTTP/0.9", http1: strings.Replace(post1("/a/mcp"), "HTTP/1.1", "HTTP/0.9", 1), want: unasked(426)},
		{name: "E2 §5: HTTP/1.2", http1: strings.Replace(post1("/a/mcp"), "HTTP/1.1", "HTTP/1.2", 1), want: unasked(426)},
		{name: "E2 §5: no Host", http1: post1("/a/mcp", "-Host"), want: unasked(400)},
		{name: "E2 §5: bad Host", http1: post1("/a/mcp", "-Host", "Host: gw test"), want: unasked(400)},
		{name: "E2 §5: Host in capitals with a port (CVE-2026-27588)", http1: post1("/a/mcp", "-Host", "Host: GW.TEST:8443"), want: allowed("a", "/up/a")},
		{name: "E2 §5: Host with a dot at the end", http1: post1("/a/mcp", "-Host", "Host: gw.test."), want: unasked(404)},
		{name: "E2 §5, F14: Host twice", http1: post1("/a/mcp", "Host: evil.test"), want: unasked(404)},
		{name: "E6 row 10: foreign Host (DNS rebinding)", http1: post1("/a/mcp", "-Host", "Host: evil.test"), want: unasked(404)},
		{name: "E2 §5: unknown verb", http1: request1("FOO", "/a/mcp"), want: unasked(400)},
		{name: "E2 §5: verb in small letters", http1: request1("get", "/a/mcp"), want: unasked(400)},
		{name: "E2 §1: Expect 100-continue", http1: post1("/a/mcp", "Expect: 100-continue"), want: allowed("a", "/up/a")},
	}
	for i := range rows {
		if strings.HasPrefix(rows[i].http1, "POST") {
			rows[i].body = goodCall
		}
	}
	for _, e := range []struct {
		value  string
		status int
	}{
		{"identity", 501},
		{"gzip, chunked", 501},
		{"chunked, chunked", 501},
		{"chunked\r\nTransfer-Encoding: chunked", 501},
		{"chunked;q=1", 501},
		{"\x0bchunked", 400},
	} {
		rows = append(rows, row{
			name:  fmt.Sprintf("E2 §5: Transfer-Encoding %q", e.value),
			http1: post1("/a/mcp", "-Content-Length", "Transfer-Encoding: "+e.value) + chunked(goodCall), want: unasked(e.status),
		})
	}
	inChunks := post1("/a/mcp", "-Content-Length", "Transfer-Encoding: chunked")
	for _, c := range []struct{ name, request, wire string }{
		{"E2 §5: Transfer-Encoding in capitals", strings.Replace(inChunks, "chunked", "Chunked", 1), chunked(goodCall)},
		{"E2 §1: chunks of odd sizes", inChunks, chunked(goodCall, 1, 2, 3, 5)},
		{"E2 §1: chunk extensions are dropped", inChunks, strings.Replace(chunked(goodCall, 4), "4\r\n", "4;x=\"y\"\r\n", 1)},
		{"F8: chunked trailers are dropped", inChunks, strings.TrimSuffix(chunked(goodCall), "\r\n") + "X-Mcpgate-Subject: eve\r\nAuthorization: Bearer x\r\n\r\n"},
	} {
		// The upstream gets what was in the chunks, with a length.
		want := with(allowed("a", "/up/a"), "transfer-encoding", "(absent)")
		want.got["content-length"] = fmt.Sprint(len(goodCall))
		want.body = goodCall
		rows = append(rows, row{name: c.name, http1: c.request + c.wire, want: want})
	}
	rows = append(rows,
		row{name: "E2 §5: chunk size ended by a bare LF", http1: inChunks + strings.Replace(chunked(goodCall), "\r\n", "\n", 1), want: unasked(400)},
		row{name: "E2 §5: chunk size with a sign", http1: inChunks + "+" + chunked(goodCall), want: unasked(400)},
		row{name: "E2 §1: chunked, empty", http1: inChunks + "0\r\n\r\n", want: refused(400, "body-empty")},
		row{name: "E2 §1: Content-Length 0", http1: post1("/a/mcp"), want: refused(400, "body-empty")},
		row{name: "E2 §1: no length", http1: post1("/a/mcp", "-Content-Length"), want: refused(400, "body-empty")},
	)
	for _, verb := range []string{"HEAD", "PUT", "PATCH", "TRACE", "OPTIONS"} {
		want := refused(405, "verb")
		want.verb, want.noBody = verb, verb == "HEAD"
		want.header = map[string]string{"Allow": "POST, GET, DELETE"}
		rows = append(rows, row{name: "F15: " + verb, http1: request1(verb, "/a/mcp"), want: want})
	}
	for _, verb := range []string{"GET", "DELETE"} {
		rows = append(rows,
			row{name: "F15: " + verb + " with a body", http1: request1(verb, "/a/mcp", "Content-Type: application/json", "Content-Length: 5") + "hello", want: refused(400, "unexpected-body")},
			row{name: "F15: " + verb, http1: request1(verb, "/a/mcp"), want: verdict{status: 200, rule: "granted", verb: verb, upstream: "/up/a"}},
		)
	}
	return append(rows, keepAliveRows()...)
}

// keepAliveRows are F18 and the pipelined requests of E2 §3: which refusals
// end the connection, and that what follows a refusal is read as what it is.
func keepAliveRows() []row {
	next := request1("GET", "/healthz")
	then := func(v verdict) verdict {
		v.then = 200
		return v
	}
	closes := func(v verdict) verdict {
		v.closed = true
		return v
	}
	return []row{
		{name: "F18: 400 ends the connection", http1: post1("/a/mcp"), body: "[]", want: closes(refused(400, "body-batch"))},
		{name: "E2 §3: pipelined behind a 401", http1: post1("/a/mcp", "-Authorization"), body: goodCall, tail: next, want: then(refused(401, "token-missing"))},
		{name: "E2 §3: pipelined behind a 403", http1: post1("/a/mcp"), body: call("set_alert"), tail: next, want: then(refused(403, "scope-insufficient"))},
		{name: "E2 §3: pipelined behind a 404", http1: post1("/none/mcp"), body: goodCall, tail: next, want: then(unasked(404))},
		{name: "E2 §3: pipelined behind a 405", http1: request1("PUT", "/a/mcp", "Content-Length: {length}"), body: goodCall, tail: next, want: then(refused(405, "verb"))},
		{name: "E2 §3: pipelined behind a 415", http1: post1("/a/mcp", "-Content-Type", "Content-Type: text/plain"), body: goodCall, tail: next, want: then(refused(415, "content-type"))},
		{name: "F9: what is behind the body is a request of its own", http1: post1("/a/mcp"), body: goodCall, tail: post1("/b/mcp", "-X-Case", "-Authorization", "-Content-Length", "Content-Length: 0"), want: func() verdict {
			v := allowed("a", "/up/a")
			v.then = 401
			return v
		}()},
	}
}

// with adds a header that the upstream gets.
func with(v verdict, name, value string) verdict {
	if v.got == nil {
		v.got = map[string]string{}
	}
	v.got[name] = value
	return v
}

// wireRows2 are the rows of E2 §1 and §5 that only HTTP/2 can say.
func wireRows2() []row {
	call := func(f frames, change func(*frames)) frames {
		if change != nil {
			change(&f)
		}
		return f
	}
	rows := []row{
		{name: "E2 §1: no content-length", http2: post2("/a/mcp"), want: with(allowed("a", "/up/a"), "content-length", fmt.Sprint(len(goodCall)))},
		{name: "E2 §1: right content-length", http2: post2("/a/mcp", "content-length: {length}"), want: allowed("a", "/up/a")},
		{name: "E2 §1: content-length too small", http2: post2("/a/mcp", "content-length: 5"), want: unasked(0)},
		{name: "E2 §1: content-length too large", http2: post2("/a/mcp", "content-length: 500"), want: unasked(0)},
		{name: "E2 §1: small frames", http2: call(post2("/a/mcp"), func(f *frames) { f.frame = 7 }), want: allowed("a", "/up/a")},
		{name: "E2 §1: ended by an empty frame", http2: call(post2("/a/mcp"), func(f *frames) { f.emptyEnd = true }), want: allowed("a", "/up/a")},
		{name: "F8: trailers", http2: call(post2("/a/mcp"), func(f *frames) {
			f.trailers = []field{{"x-mcpgate-subject", "eve"}, {"authorization", "Bearer x"}, {"content-type", "text/plain"}}
		}), want: allowed("a", "/up/a")},
		{name: "E2 §5: pseudo-header in the trailers", http2: call(post2("/a/mcp"), func(f *frames) { f.trailers = []field{{":path", "/b/mcp"}} }), want: unasked(0)},
		{name: "E2 §5: authority and host", http2: post2("/a/mcp", "host: evil.test"), want: allowed("a", "/up/a")},
		{name: "E2 §5: no authority", http2: post2("/a/mcp", "-:authority"), want: unasked(0)},
		{name: "E2 §5: user information in the authority", http2: post2("/a/mcp", "-:authority", ":authority: eve@gw.test"), want: unasked(0)},
		{name: "E6 row 10: foreign authority", http2: post2("/a/mcp", "-:authority", ":authority: evil.test"), want: unasked(404)},
		{name: "E2 §5: authority in capitals with a port", http2: post2("/a/mcp", "-:authority", ":authority: GW.TEST:8443"), want: allowed("a", "/up/a")},
		{name: "E2 §5: name in capitals", http2: post2("/a/mcp", "X-Note: 1"), want: unasked(0)},
		{name: "E2 §5: connection", http2: post2("/a/mcp", "connection: close"), want: unasked(0)},
		{name: "E2 §5: transfer-encoding", http2: post2("/a/mcp", "transfer-encoding: chunked"), want: unasked(0)},
		{name: "E2 §5: te chunked", http2: post2("/a/mcp", "te: chunked"), want: unasked(0)},
		{name: "E2 §5: line break in a value", http2: post2("/a/mcp", "x-note: a\r\nx-mcpgate-subject: eve"), want: unasked(0)},
		{name: "E2 §5: NUL in a value", http2: post2("/a/mcp", "x-note: a\x00b"), want: unasked(0)},
		{name: "E2 §5: space in the verb", http2: request2("POST /b/mcp", "/a/mcp"), want: unasked(0)},
		{name: "E2 §5: verb twice", http2: post2("/a/mcp", ":method: GET"), want: unasked(0)},
		{name: "E2 §5: unknown pseudo-header", http2: post2("/a/mcp", ":server: b"), want: unasked(0)},
		{name: "E2 §5: pseudo-header after the others", http2: call(post2("/a/mcp", "-:path"), func(f *frames) { f.fields = append(f.fields, field{":path", "/a/mcp"}) }), want: unasked(0)},
		{name: "E2 §5: underscore in a name", http2: post2("/a/mcp", "x_mcpgate_subject: eve"), want: unasked(0)},
		{name: "E2 §5: identity headers", http2: post2("/a/mcp", "x-mcpgate-subject: eve", "x-mcpgate-scopes: admin", "x-mcpgate: eve"), want: allowed("a", "/up/a")},
	}
	for i := range rows {
		rows[i].body = goodCall
	}
	for _, verb := range []string{"FOO", "get", "PUT", "TRACE", "HEAD", "OPTIONS"} {
		want := refused(405, "verb")
		want.verb, want.noBody = verb, verb == "HEAD"
		rows = append(rows, row{name: "F15: " + verb, http2: request2(verb, "/a/mcp"), want: want})
	}
	for _, verb := range []string{"GET", "DELETE"} {
		rows = append(rows, row{name: "F15: " + verb + " with a body", http2: request2(verb, "/a/mcp", "content-type: application/json"), body: goodCall, want: refused(400, "unexpected-body")})
	}
	return append(rows,
		row{name: "E2 §1: END_STREAM on the headers", http2: call(post2("/a/mcp"), func(f *frames) { f.endInHeaders = true }), want: refused(400, "body-empty")},
		row{name: "E2 §1: empty DATA", http2: call(post2("/a/mcp"), func(f *frames) { f.emptyEnd = true }), want: refused(400, "body-empty")},
	)
}
