package e2e_test

import "strings"

// messageAdvisories are section 4.1: two readers of one body.
func messageAdvisories() []advisory {
	refuse := func(name, body, rule string) row {
		return row{name: name, http1: post1("/a/mcp"), body: body, want: refused(400, rule)}
	}
	// Calls of a tool that the caller has, with more members.
	params := func(more string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_forecast","arguments":{}` + more + `}}`
	}
	envelope := func(more string) string {
		return strings.Replace(goodCall, `"id":1`, `"id":1`+more, 1)
	}
	duplicates := pick(messageRows(), "envoy#45202")
	for _, c := range []struct{ name, body string }{
		{"id twice", envelope(`,"id":2`)},
		{"jsonrpc twice", envelope(`,"jsonrpc":"2.0"`)},
		{"_meta twice", params(`,"_meta":{},"_meta":{}`)},
		{"twice in _meta", params(`,"_meta":{"a":1,"a":2}`)},
		{"twice in an array of the arguments", strings.Replace(params(""), `"arguments":{}`, `"arguments":{"l":[{"a":1},{"b":1,"b":2}]}`, 1)},
		{"twice at the end of a large object", strings.Replace(params(""), `"arguments":{}`, `"arguments":{"k":0,"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"l":1,"m":1,"n":1,"o":1,"p":1,"q":1,"r":1,"k":1}`, 1)},
		{"twice, once in escapes, in the arguments", strings.Replace(params(""), `"arguments":{}`, `"arguments":{"path":1,"p\u0061th":2}`, 1)},
	} {
		duplicates = append(duplicates, refuse(c.name, c.body, "body-duplicate"))
	}
	return []advisory{
		{
			section: "4.1", ids: "CVE-2026-27896, GHSA-wvj2-96wp-fq3f", bug: "MCP Go SDK: JSON names are matched without regard to case",
			rows: append(pick(messageRows(), "CVE-2026-27896"),
				refuse("METHOD in capitals", envelope(`,"METHOD":"tools/list"`), "body-name-fold"),
				refuse("Params beside params", envelope(`,"Params":{"name":"set_alert"}`), "body-name-fold"),
				refuse("ID beside id", envelope(`,"ID":2`), "body-name-fold"),
				refuse("URI alone", `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"URI":"file:///etc/passwd"}}`, "body-name-fold"),
				refuse("Kelvin sign in taskId", params(`,"tas\u212aId":"1"`), "body-name-fold"),
				refuse("dotless i in uri", params(`,"urı":"1"`), "body-name-fold"),
				refuse("snake case", params(`,"task_id":"1"`), "body-name-fold"),
				refuse("_META", params(`,"_META":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}`), "body-name-fold")),
			tests: []string{"TestFoldsCoverUnicode", "TestReadersAgree", "TestPythonAndNodeAgree"},
		},
		{
			section: "4.1", ids: "GHSA-q382-vc8q-7jhj, GO-2026-4770", bug: "MCP Go SDK: a name with U+0000 behind it is taken for the name, last wins",
			rows: append(pick(messageRows(), "GHSA-q382"),
				refuse("NUL in params", envelope(`,"params\u0000":{"name":"set_alert"}`), "body-name-control"),
				refuse("NUL before name", params(`,"\u0000name":"set_alert"`), "body-name-control"),
				refuse("NUL in a value", call(`get_forecast\u0000`), "body-member-control"),
				refuse("DEL in a name", params(`,"name\u007f":"set_alert"`), "body-name-control"),
				refuse("C1 control in a name", params(`,"name\u0085":"set_alert"`), "body-name-control")),
		},
		{
			section: "4.1", ids: "GHSA-4gph-2hhr-5mwg", bug: "Envoy AI Gateway: Name beats name, and the message is written anew for the upstream",
			rows: append(pick(messageRows(), "GHSA-4gph"),
				row{name: "members that nobody reads stay, in order", http1: post1("/a/mcp"), body: `{"z":{"b":1,"a":[ ]}, "jsonrpc":"2.0","method":"tools/call","id":"é","params":{"name":"get_forecast","_meta":{"x":null},"y":"\/"}}`, want: allowed("a", "/up/a")},
				row{name: "in small frames", http2: frames{fields: post2("/a/mcp").fields, frame: 3}, body: "\n" + goodCall + " \t", want: allowed("a", "/up/a")}),
		},
		{
			section: "4.1", ids: "envoy#45202", bug: "Envoy's MCP filter: stops at the first name where others take the last; bodies above the limit pass with a flag",
			rows:  append(duplicates, pick(bodyRows(), "+1 bytes")...),
			tests: []string{"TestDuplicatesOfAnySize", "TestScannerRefusesDuplicatesInLargeObjects"},
		},
		{
			section: "4.1", ids: "envoy#6487", bug: "allow_partial_message: the beginning of a body is authorised, all of it runs",
			rows:  append(pick(bodyRows(), "F1", "+0 bytes", "-1 bytes"), pick(headerRows(), "partial body")...),
			tests: []string{"TestAmbiguousRequestIsRefused", "TestValidateRefusesAListener"},
		},
		{
			section: "4.1", ids: "CVE-2023-27488", bug: "Envoy: a header that is not UTF-8 breaks the check, which then fails open",
			rows: append(append(pick(headerRows(), "F12"), pick(messageRows(), "not UTF-8", "unpaired surrogate")...),
				row{name: "in every mirrored header", http1: post1("/a/mcp", "Mcp-Method: tools/call\xff", "Mcp-Name: get_forecast"), body: goodCall, want: refused(400, "mirror-mismatch")},
				row{name: "in the session id", http1: post1("/a/mcp", "Mcp-Session-Id: v1.\xff"), body: goodCall, want: refused(404, "session-unknown")},
				row{name: "in the token", http1: post1("/a/mcp", "-Authorization", "Authorization: Bearer {token}\xff"), body: goodCall, want: refused(401, "token-malformed")},
				row{name: "in Content-Type", http1: post1("/a/mcp", "-Content-Type", "Content-Type: application/json;charset=utf-8\xff"), body: goodCall, want: refused(415, "content-type")},
				row{name: "in Origin", http1: post1("/a/mcp", "Origin: https://app.example\xff"), body: goodCall, want: refused(403, "origin")}),
			tests: []string{"TestGoldens", "TestLiveAuthorizationServiceThatIsGoneRefuses"},
		},
		{
			section: "4.1", ids: "CVE-2026-30856", bug: "WeKnora: an ambiguous name lets one server's tool stand for another's",
			rows: append(pick(messageRows(), "tool in capitals", "tool with a blank", "homoglyph", "separator", "normal form"),
				row{name: "tool with a path", http1: post1("/a/mcp"), body: call("../b/get_forecast"), want: refused(403, "no-scope-helps")},
				row{name: "tool with a zero-width space", http1: post1("/a/mcp"), body: call("get_\u200bforecast"), want: refused(403, "no-scope-helps")},
				row{name: "empty tool", http1: post1("/a/mcp"), body: call(""), want: refused(400, "target-missing")}),
			tests: []string{"TestNamesAreComparedByteForByte"},
		},
		{
			section: "4.1", ids: "encoding", bug: "a body that the judge reads in one encoding and the upstream in another",
			rows: append(append(pick(headerRows(), "Content-Type", "Content-Encoding"), pick(messageRows(), "byte order mark", "UTF-16", "comment", "NaN", "cut off", "too deep")...),
				pick(wireRows(), "chunks of odd sizes", "chunk extensions", "Content-Length 0", "no length", "chunked, empty")...),
			tests: []string{"TestJSONTestSuite", "TestEveryPrefixIsRefused"},
		},
		{
			section: "4.1", ids: "era", bug: "what one protocol version means is judged by the rules of another",
			rows: append(append(append(pick(messageRows(), "batch", "two messages", "notification", "response", "request that is", "call without id", "unknown method", "method in capitals", "method with a blank"),
				pick(headerRows(), "Mcp-Name is", "Mcp-Method is", "agree", "version that nobody knows", "modern version")...),
				pick(wireRows(), "F15")...),
				row{name: "modern call without Mcp-Name", http1: post1("/a/mcp", "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call"), body: params(`,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}`), want: refused(400, "mirror-missing")},
				row{name: "modern _meta, legacy header", http1: post1("/a/mcp", "MCP-Protocol-Version: 2025-06-18"), body: params(`,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}`), want: refused(400, "mirror-mismatch")},
				row{name: "modern GET", http1: request1("GET", "/a/mcp", "MCP-Protocol-Version: 2026-07-28"), want: refused(405, "verb-modern")},
				row{name: "tasks of whom nobody knows", http1: post1("/a/mcp"), body: `{"jsonrpc":"2.0","id":1,"method":"tasks/list"}`, want: refused(403, "tasks-list")},
				row{name: "prompt of another scope by completion", http1: post1("/a/mcp"), body: `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"get_forecast"},"argument":{"name":"a","value":"b"}}}`, want: refused(403, "no-scope-helps")}),
			tests: []string{"TestDecideGolden", "TestDecodeMirrored", "TestUnknownMethods"},
		},
	}
}
