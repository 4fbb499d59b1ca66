package e2e_test

import (
	"fmt"
	"strings"
)

// bodyLimit is the default of gateway.maxRequestBytes.
const bodyLimit = 1 << 20

// padded is a good call of n bytes.
func padded(n int) string {
	head, tail := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_forecast","arguments":{"pad":"`, `"}}}`
	return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
}

// bodyRows are F1 and E2 §2: at the limit authz sees the whole body or nothing.
func bodyRows() []row {
	good := allowed("a", "/up/a")
	var rows []row
	for _, c := range []struct {
		size int
		want verdict
	}{
		{bodyLimit - 1, good},
		{bodyLimit, good},
		{bodyLimit + 1, unasked(413)},
		{bodyLimit + 16384, unasked(413)},
		{bodyLimit + 16385, unasked(413)},
		{bodyLimit + 64<<10, unasked(413)},
		{2 * bodyLimit, unasked(413)},
	} {
		body := padded(c.size)
		name := fmt.Sprintf("E2 §2: %+d bytes beyond the limit", c.size-bodyLimit)
		rows = append(rows,
			row{name: name + " over HTTP/1.1", http1: post1("/a/mcp"), body: body, want: c.want},
			row{name: "F1, " + name + " over HTTP/2", http2: post2("/a/mcp"), body: body, want: c.want},
			row{name: "F1, " + name + " over HTTP/2 with content-length", http2: post2("/a/mcp", "content-length: {length}"), body: body, want: c.want})
		inChunks := row{name: name + " in chunks", http1: post1("/a/mcp", "-Content-Length", "Transfer-Encoding: chunked") + chunked(body, bodyLimit/2), want: c.want}
		if c.want.status == 200 {
			inChunks.want.body = body
		}
		rows = append(rows, inChunks)
	}
	// The last frame is what crosses the limit: all but one byte before it.
	last := post2("/a/mcp")
	last.frame = 16383
	return append(rows, row{name: "F1: the last frame crosses the limit", http2: last, body: padded(bodyLimit + 100), want: unasked(413)})
}

// messageRows are attacks §4.1: bodies that two readers could read in two
// ways, and messages that are no single one of JSON-RPC.
func messageRows() []row {
	msg := func(params string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":` + params + `}`
	}
	var rows []row
	for _, c := range []struct{ name, body, rule string }{
		{"CVE-2026-27896: Name beside name", msg(`{"name":"get_forecast","Name":"set_alert"}`), "body-name-fold"},
		{"CVE-2026-27896: NAME alone", msg(`{"NAME":"set_alert"}`), "body-name-fold"},
		{"CVE-2026-27896: Method beside method", `{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}`, "body-name-fold"},
		{"CVE-2026-27896: long s in params", `{"jsonrpc":"2.0","id":1,"method":"ping","paramſ":{}}`, "body-name-fold"},
		{"CVE-2026-27896: escaped capital", msg(`{"name":"get_forecast","\u004eame":"set_alert"}`), "body-name-fold"},
		{"GHSA-q382: NUL in a name", msg(`{"name":"get_forecast","name\u0000":"set_alert"}`), "body-name-control"},
		{"GHSA-q382: NUL in method", `{"jsonrpc":"2.0","id":1,"method":"ping","method\u0000":"tools/call"}`, "body-name-control"},
		{"envoy#45202: name twice", msg(`{"name":"get_forecast","name":"set_alert"}`), "body-duplicate"},
		{"envoy#45202: name twice, once escaped", msg(`{"name":"get_forecast","n\u0061me":"set_alert"}`), "body-duplicate"},
		{"envoy#45202: params twice", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_forecast"},"params":{"name":"set_alert"}}`, "body-duplicate"},
		{"envoy#45202: method twice", `{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}`, "body-duplicate"},
		{"envoy#45202: duplicate in the arguments", msg(`{"name":"get_forecast","arguments":{"a":{"b":1,"b":2}}}`), "body-duplicate"},
		{"batch", "[" + goodCall + "]", "body-batch"},
		{"empty batch", "[]", "body-batch"},
		{"two messages", goodCall + goodCall, "body-trailing"},
		{"message and NUL", goodCall + "\x00", "body-trailing"},
		{"byte order mark", "\xef\xbb\xbf" + goodCall, "body-bom"},
		{"UTF-16", "{\x00\"\x00", "body-encoding"},
		{"not UTF-8", strings.Replace(goodCall, "Oslo", "Osl\xff", 1), "body-utf8"},
		{"unpaired surrogate", strings.Replace(goodCall, "Oslo", `\ud800`, 1), "body-surrogate"},
		{"comment", "/*" + goodCall + "*/" + goodCall, "body-comment"},
		{"cut off", goodCall[:len(goodCall)-1], "body-truncated"},
		{"a string", `"tools/call"`, "body-not-object"},
		{"NaN", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}`, "body-literal"},
		{"no version", `{"id":1,"method":"ping"}`, "body-jsonrpc"},
		{"id null", `{"jsonrpc":"2.0","id":null,"method":"ping"}`, "body-id-null"},
		{"id with a fraction", `{"jsonrpc":"2.0","id":1.5,"method":"ping"}`, "body-id"},
		{"id beyond 2^53", `{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}`, "body-id"},
		{"call without id", `{"jsonrpc":"2.0","method":"tools/call","params":{"name":"get_forecast"}}`, "body-call-without-id"},
		{"request and response", `{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}`, "body-mixed"},
		{"params is a list", msg(`["get_forecast"]`), "body-params"},
		{"name is a list", msg(`{"name":["get_forecast"]}`), "body-member-type"},
		{"method is a number", `{"jsonrpc":"2.0","id":1,"method":7}`, "body-method"},
		{"too deep", msg(`{"name":"get_forecast","arguments":` + strings.Repeat(`{"a":`, 70) + "1" + strings.Repeat("}", 70) + "}"), "body-depth"},
	} {
		rows = append(rows, row{name: "attacks §4.1: " + c.name, http1: post1("/a/mcp"), body: c.body, want: refused(400, c.rule)})
	}
	for _, c := range []struct {
		name, body string
		want       verdict
	}{
		{"no name", msg(`{}`), refused(400, "target-missing")},
		{"method in capitals", `{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"get_forecast"}}`, refused(404, "method-unknown")},
		{"method with a blank", `{"jsonrpc":"2.0","id":1,"method":"tools/call ","params":{"name":"get_forecast"}}`, refused(404, "method-unknown")},
		{"unknown method", `{"jsonrpc":"2.0","id":1,"method":"admin/reset"}`, refused(404, "method-unknown")},
		{"notification that is a request", `{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}`, refused(400, "message-kind")},
		{"request that is a notification", `{"jsonrpc":"2.0","method":"tools/list"}`, refused(400, "message-kind")},
		{"tasks/list", `{"jsonrpc":"2.0","id":1,"method":"tasks/list"}`, refused(403, "tasks-list")},
		{"tool in capitals", call("GET_FORECAST"), refused(403, "no-scope-helps")},
		{"tool with a blank (CVE-2026-30856)", call("get_forecast "), refused(403, "no-scope-helps")},
		{"tool with a homoglyph", call("get_forecаst"), refused(403, "no-scope-helps")},
		{"tool of another server by a separator", call("b__get_forecast"), refused(403, "no-scope-helps")},
		{"tool in another normal form", call("la\u0308s_nyheter"), refused(403, "no-scope-helps")},
		{"tool of another scope", call("set_alert"), refused(403, "scope-insufficient")},
	} {
		rows = append(rows, row{name: "attacks §4.1: " + c.name, http1: post1("/a/mcp"), body: c.body, want: c.want})
	}
	as := func(method, target string) verdict {
		return verdict{status: 200, rule: "granted", method: method, target: target, upstream: "/up/a"}
	}
	return append(rows,
		row{name: "GHSA-4gph: the bytes are not written anew", http1: post1("/a/mcp"), body: "\t{ \"id\" : \"\\u0031\" ,\"params\":{\"arguments\":{\"n\":1.0e2,\"u\":\"\\u00e4\"},\"name\":\"get_\\u0066orecast\"}, \"method\":\"tools/call\",\"jsonrpc\":\"2.0\",\"x\":[]}\r\n", want: allowed("a", "/up/a")},
		row{name: "attacks §4.1: a tool by its prefix", http1: post1("/a/mcp"), body: call("list_"), want: as("tools/call", "list_")},
		row{name: "attacks §4.1: a name in the normal form of the rule", http1: post1("/a/mcp"), body: call("läs_nyheter"), want: as("tools/call", "läs_nyheter")},
		row{name: "attacks §4.1: ping", http1: post1("/a/mcp"), body: `{"jsonrpc":"2.0","id":"x","method":"ping"}`, want: as("ping", "")},
		row{name: "attacks §4.1: notification", http1: post1("/a/mcp"), body: `{"jsonrpc":"2.0","method":"notifications/initialized"}`, want: as("notifications/initialized", "")},
		row{name: "attacks §4.1: response", http1: post1("/a/mcp"), body: `{"jsonrpc":"2.0","id":7,"result":{}}`, want: as("", "")},
	)
}
