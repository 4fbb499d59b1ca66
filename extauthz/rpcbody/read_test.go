package rpcbody

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// call is a tools/call with arguments in place of %s.
const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":%s}}`

func arguments(json string) string { return fmt.Sprintf(call, json) }

// params is a request with the members of params in place of %s.
func params(members string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"x","params":{` + members + `}}`
}

// envelope is an object with these members beside `jsonrpc`.
func envelope(members string) string { return `{"jsonrpc":"2.0",` + members + `}` }

func nested(open, end string, n int) string {
	return strings.Repeat(open, n) + strings.Repeat(end, n)
}

// refusals has, for each rule, bodies that break it and no other.
var refusals = map[string][]string{
	RuleEmpty: {"", " ", "\n\t\r "},
	RuleBOM:   {"\xEF\xBB\xBF" + arguments("{}"), "\xEF\xBB\xBF"},
	RuleEncoding: {
		"{\x00\"\x00}\x00", "\x00{\x00}", "{\x00\x00\x00}\x00\x00\x00", "\x00\x00\x00{\x00\x00\x00}",
		"\xFF\xFE{\x00}\x00", "\xFE\xFF\x00{\x00}", "\x00\x00\xFE\xFF\x00\x00\x00{",
	},
	RuleUTF8: {
		arguments("\"\xFF\""), arguments("\"\xC0\xAF\""), arguments("\"\xED\xA0\x80\""), arguments("\"\xF4\x90\x80\x80\""),
		arguments("{\"\x80\":1}"), params("\"name\":\"\xE2\x82\""), envelope("\"\xFF\":1"), "\xFF" + arguments("{}"),
		arguments("\xFF"),
	},
	RuleBatch:     {"[]", " [" + arguments("{}") + "]"},
	RuleNotObject: {`"a"`, "1", "null", "true", "tools/call", "}", "'", "+AHs-"},
	RuleTruncated: {
		"{", `{"`, `{"jsonrpc`, `{"jsonrpc"`, `{"jsonrpc":`, `{"jsonrpc":"2.0"`, `{"jsonrpc":"2.0",`,
		`{"a":[`, `{"a":[1`, `{"a":[1,`, `{"a":tr`, `{"a":1.`, `{"a":-`, `{"a":1e`, `{"a":1e+`, `{"a":1`, `{"a":"\`, `{"a":"\u00`, `{"a":"\ud83d\u00`,
		`{"a":{"b":1`, `{"id":`, `{"id":n`, `{"method":`, `{"params":`, `{"params":{"name":"`,
		`{"params":{"notifications":{"taskIds":[`, `{"params":{"notifications":{"taskIds":["a"`, `{"params":{"notifications":{"taskIds":`,
	},
	RuleTrailing: {arguments("{}") + "{}", arguments("{}") + " x", arguments("{}") + ",", arguments("{}") + "\x00", arguments("{}") + "//", arguments("{}") + arguments("{}")},
	RuleDepth: {
		arguments(nested("[", "]", MaxDepth-1)), arguments(strings.Repeat(`{"a":`, MaxDepth-2) + "[]" + strings.Repeat("}", MaxDepth-2)),
		envelope(`"x":` + nested("[", "]", 100_000)),
	},
	RuleSyntax: {
		arguments(`{"a" 1}`), arguments(`{a:1}`), arguments(`{1:1}`), arguments(`{'a':1}`), arguments(`[1 2]`), arguments(`[1}`), arguments(`{"a":1]`),
		arguments(`{"a":}`), arguments(`{"a":1 "b":2}`), arguments("[1\x00]"), arguments("[1\v]"), arguments(`'a'`), arguments(`{"a"=1}`), arguments("\f1"),
	},
	RuleNumber: {
		arguments("01"), arguments("-01"), arguments("+1"), arguments(".5"), arguments("1.x"), arguments("1.e5"), arguments("0x10"), arguments("1_000"), arguments("-"),
		arguments("1e"), arguments("1e+"), arguments("--1"), arguments("1.2.3"), arguments("1-2"), arguments("-Infinity"), arguments("00"), envelope(`"id":01`), envelope(`"id":-`),
	},
	RuleLiteral: {
		arguments("NaN"), arguments("Infinity"), arguments("True"), arguments("nul}"), arguments("nulL"), arguments("undefined"), arguments("truefalse"), envelope(`"id":nope`),
	},
	RuleComment: {"/**/" + arguments("{}"), arguments("/**/{}"), arguments("{}/**/"), arguments("{//\n}"), arguments("[1#\n]"), envelope(`/*x*/"id":1`)},
	RuleComma:   {arguments("[1,]"), arguments(`{"a":1,}`), arguments("[,1]"), arguments("[1,,2]"), arguments("[1, \n]"), arguments(`{,}`), envelope(``), params(`"notifications":{"taskIds":["a",]}`), params(`"notifications":{"taskIds":[,"a"]}`)},
	RuleEscape:  {arguments(`"\x41"`), arguments(`"\'"`), arguments(`"\u12g4"`), arguments(`"\u12"`), arguments(`"\U0041"`), arguments("\"\\\n\""), arguments(`{"\a":1}`), arguments(`"\ud83d\u12g4"`)},
	RuleControl: {arguments("\"\x00\""), arguments("\"a\nb\""), arguments("\"12345678\x1F\""), arguments("{\"a\t\":1}"), params("\"name\":\"a\x01\"")},
	RuleSurrogate: {
		arguments(`"\ud800"`), arguments(`"\udc00"`), arguments(`"\ud800\ud800"`), arguments(`"\ud800x12345"`), arguments(`"\udc00\ud800"`), arguments(`{"\ud800":1}`),
		arguments(`"\uD83Dx"`), arguments(`"\ud83d\\u0041"`), arguments(`"\ud83d\u0041"`), envelope(`"id":"\udead"`), params(`"name":"\ud800"`),
	},
	RuleDuplicate: {
		envelope(`"id":1,"method":"x","method":"x"`), envelope(`"id":1,"id":1,"method":"x"`), envelope(`"method":"x","params":{},"params":{}`),
		envelope(`"method":"x","jsonrpc":"2.0"`), params(`"name":"a","name":"a"`), params(`"name":"a","n\u0061me":"b"`), params(`"n\u0061me":"a","\u006eame":"b"`),
		params(`"_meta":{"a":1,"a":1}`), params(`"ref":{"name":"a","name":"b"}`), params(`"notifications":{"taskIds":[],"taskIds":[]}`), params(`"task":{},"t\u0061sk":{}`),
		params(`"_meta":{"io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{},"io.modelcontextprotocol/tasks":{}}}}`),
		arguments(`{"a":1,"b":2,"a":3}`), arguments(`[{"":1,"":2}]`), arguments(`{"a":{"b":{"c":1,"c":1}}}`), arguments(`{"\ud83d\ude00":1,"😀":2}`),
		arguments(`{"a/b":1,"a\/b":2}`), arguments(`{"\"":1,"\u0022":2}`), envelope(`"method":"x","foo":1,"foo":2`),
	},
	RuleNameFold: {
		envelope(`"method":"x","Method":"y"`), envelope(`"METHOD":"y"`), envelope(`"method":"x","ID":1`), envelope(`"method":"x","\u0130d":1`), envelope(`"method":"x","paramſ":{}`),
		envelope(`"method":"x","PARAMS":{}`), `{"Jsonrpc":"2.0"}`, envelope(`"Result":{}`), envelope(`"errOr":{}`), envelope(`"reſult":{}`),
		params(`"Name":"a"`), params(`"name":"a","NAME":"b"`), params(`"URI":"a"`), params(`"ur\u0131":"a"`), params(`"taskid":"a"`), params(`"tasKId":"a"`), params(`"taſKID":"a"`),
		params(`"ProtocolVersion":"a"`), params(`"Ref":{}`), params(`"_Meta":{}`), params(`"Notifications":{}`), params(`"notificationſ":{}`), params(`"N\u0061me":"a"`),
		params(`"ref":{"Type":"a"}`), params(`"ref":{"Name":"a"}`), params(`"ref":{"Uri":"a"}`), params(`"_meta":{"IO.modelcontextprotocol/protocolVersion":"a"}`),
		params(`"_meta":{"io.modelcontextprotocol/protocolversion":"a"}`), params(`"notifications":{"ResourceSubscriptions":[]}`), params(`"notifications":{"taskIDs":[]}`),
		params(`"notifications":{"taskIdſ":[]}`),
		envelope(`"method":"x","json_rpc":1`), envelope(`"id":1,"met-hod":"x"`), params(`"task_id":"a"`), params(`"uri_":"a"`), params(`"meta":{}`), params(`"__Meta":{}`),
		params(`"notifications":{"resource_subscriptions":["a"]}`), params(`"notifications":{"task_ids":["a"]}`), params(`"protocol_version":"a"`),
		params(`"Task":{}`), params(`"tasK":{}`), params(`"taſk":{}`), params(`"_task":{}`), params(`"_meta":{"io.modelcontextprotocol/client_capabilities":{}}`),
		params(`"_meta":{"io.modelcontextprotocol/clientCapabilities":{"Extensions":{}}}`), params(`"_meta":{"io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/Tasks":{}}}}`),
	},
	RuleNameControl: {
		envelope(`"method":"x","method\u0000":"y"`), envelope(`"method":"x","\u0000":"y"`), params(`"name":"a","name\u0000":"b"`), params(`"\u001fname":"b"`), params(`"name\u007f":"b"`),
		params("\"name\x7f\":1"), params("\"name\u0085\":1"), params(`"name\u009f":1`), params(`"_meta":{"a\u0000":1}`), params(`"ref":{"type\n":1}`),
		params(`"notifications":{"taskIds\u0000":[]}`), params(`"_meta":{"io.modelcontextprotocol/clientCapabilities":{"extensions\u0000":{}}}`),
		params(`"_meta":{"io.modelcontextprotocol/clientCapabilities":{"extensions":{"\u0000":{}}}}`),
	},
	RuleNameProto: {envelope(`"method":"x","__proto__":{"params":{}}`), params(`"__proto__":{"name":"a"}`), params(`"_meta":{"__proto__":1}`), params(`"ref":{"\u005f_proto__":1}`), params(`"notifications":{"__proto__":{"taskIds":["a"]}}`), params(`"_meta":{"io.modelcontextprotocol/clientCapabilities":{"__proto__":{}}}`)},

	RuleJSONRPC: {`{}`, `{"id":1,"method":"x"}`, `{"jsonrpc":"1.0","id":1,"method":"x"}`, `{"jsonrpc":2.0,"id":1,"method":"x"}`, `{"jsonrpc":"2.0 ","id":1}`, `{"jsonrpc":null}`, `{"jsonrpc":"2.00000000000000000"}`, `{"jsonrpc":"2\u00300"}`},
	RuleID: {
		envelope(`"id":1.0,"method":"x"`), envelope(`"id":1e3,"method":"x"`), envelope(`"id":-0,"method":"x"`), envelope(`"id":9007199254740992,"method":"x"`),
		envelope(`"id":-9007199254740992,"method":"x"`), envelope(`"id":99999999999999999999999,"method":"x"`), envelope(`"id":true,"method":"x"`), envelope(`"id":{},"method":"x"`),
		envelope(`"id":[1],"method":"x"`), envelope(`"id":"` + strings.Repeat("a", MaxID+1) + `","method":"x"`), envelope(`"id":"` + strings.Repeat(`\u0061`, MaxID+1) + `","method":"x"`),
		envelope(`"id":"` + strings.Repeat("😀", MaxID/4) + `\n","method":"x"`), envelope(`"id":false`),
	},
	RuleIDNull:        {envelope(`"id":null,"method":"x"`), envelope(`"id":null,"method":"tools/call"`), envelope(`"id":null,"result":{}`)},
	RuleCallWithoutID: {envelope(`"method":"tools/call","params":{"name":"a"}`), envelope(`"method":"tools\/c\u0061ll"`)},
	RuleResponseID:    {envelope(`"result":{}`), envelope(`"error":{"code":1,"message":"a"}`)},
	RuleMethod: {
		envelope(`"id":1,"method":""`), envelope(`"id":1,"method":null`), envelope(`"id":1,"method":1`), envelope(`"id":1,"method":["x"]`), envelope(`"id":1,"method":{}`),
		envelope(`"id":1,"method":"` + strings.Repeat("a", MaxMethod+1) + `"`), envelope(`"id":1,"method":"tools/list\u0000"`), envelope(`"id":1,"method":"a\nb"`), envelope("\"method\":\"a\u0080\""),
	},
	RuleNoMethod: {envelope(`"id":1`), envelope(`"id":1,"params":{}`), envelope(`"x":1`), envelope(`"id":null`)},
	RuleMixed:    {envelope(`"id":1,"method":"x","result":{}`), envelope(`"id":1,"error":{},"method":"x"`), envelope(`"id":1,"result":{},"error":{}`), envelope(`"method":"x","error":{}`)},
	RuleResult:   {envelope(`"id":1,"result":null`), envelope(`"id":1,"result":1`), envelope(`"id":1,"error":null`), envelope(`"id":1,"error":"x"`), envelope(`"id":1,"result":[]`), envelope(`"id":1,"method":"x","error":null`)},
	RuleParams:   {envelope(`"id":1,"method":"x","params":null`), envelope(`"id":1,"method":"x","params":["a"]`), envelope(`"id":1,"method":"x","params":"a"`), envelope(`"method":"x","params":1`)},
	RuleMemberType: {
		params(`"name":1`), params(`"name":null`), params(`"name":{"x":1}`), params(`"name":["a"]`), params(`"name":true`), params(`"uri":null`), params(`"taskId":7`), params(`"protocolVersion":20250618`),
		params(`"ref":"ref/prompt"`), params(`"ref":null`), params(`"ref":{"type":1}`), params(`"ref":{"name":null}`), params(`"ref":{"uri":[]}`), params(`"_meta":null`), params(`"_meta":[]`),
		params(`"_meta":{"io.modelcontextprotocol/protocolVersion":1}`), params(`"notifications":[]`), params(`"notifications":null`), params(`"notifications":{"resourceSubscriptions":"a"}`),
		params(`"notifications":{"resourceSubscriptions":null}`), params(`"notifications":{"taskIds":{}}`), params(`"notifications":{"taskIds":[1]}`), params(`"notifications":{"taskIds":["a",["b"]]}`),
		params(`"_meta":{"io.modelcontextprotocol/clientCapabilities":null}`), params(`"_meta":{"io.modelcontextprotocol/clientCapabilities":[]}`), params(`"_meta":{"io.modelcontextprotocol/clientCapabilities":{"extensions":["io.modelcontextprotocol/tasks"]}}`),
	},
	RuleMemberLength: {
		params(`"name":"` + strings.Repeat("a", MaxName+1) + `"`), params(`"name":"` + strings.Repeat(`\u0061`, MaxName+1) + `"`), params(`"name":"\n` + strings.Repeat(`a`, MaxName) + `"`),
		params(`"uri":"` + strings.Repeat("a", MaxURI+1) + `"`), params(`"taskId":"` + strings.Repeat("a", MaxTaskID+1) + `"`), params(`"protocolVersion":"` + strings.Repeat("a", MaxVersion+1) + `"`),
		params(`"ref":{"type":"` + strings.Repeat("a", MaxVersion+1) + `"}`), params(`"ref":{"name":"` + strings.Repeat("a", MaxName+1) + `"}`), params(`"ref":{"uri":"` + strings.Repeat("a", MaxURI+1) + `"}`),
		params(`"_meta":{"io.modelcontextprotocol/protocolVersion":"` + strings.Repeat("a", MaxVersion+1) + `"}`),
		params(`"notifications":{"taskIds":["` + strings.Repeat("a", MaxTaskID+1) + `"]}`), params(`"notifications":{"resourceSubscriptions":["` + strings.Repeat("a", MaxURI+1) + `"]}`),
		params(`"notifications":{"taskIds":[` + strings.Repeat(`"a",`, MaxList) + `"b"]}`), params(`"notifications":{"resourceSubscriptions":[` + strings.Repeat(`"a",`, MaxList) + `"b"]}`),
	},
	RuleMemberControl: {
		params(`"name":"a\u0000"`), params(`"name":"a\n"`), params("\"name\":\"a\x7F\""), params(`"uri":"a\u0000b"`), params("\"taskId\":\"\u0090\""), params(`"protocolVersion":"\u009f"`),
		params(`"ref":{"type":"\b"}`), params(`"ref":{"name":"\f"}`), params(`"ref":{"uri":"\r"}`), params(`"_meta":{"io.modelcontextprotocol/protocolVersion":"\t"}`),
		params(`"notifications":{"resourceSubscriptions":["a","\u0000"]}`), params(`"notifications":{"taskIds":["\u0001"]}`),
	},
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, rule := range Rules() {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			bodies := refusals[rule]
			if len(bodies) == 0 && rule != RuleSize { // TestSize
				t.Fatal("no body breaks this rule")
			}
			for _, body := range bodies {
				m := Message{Kind: Request, Method: "old", Resources: []string{"old"}}
				err := Read([]byte(body), &m)
				var e *Error
				if !errors.As(err, &e) {
					t.Errorf("Read(%.80q) = %v, want %s", body, err, rule)
					continue
				}
				if e.Rule != rule {
					t.Errorf("Read(%.80q) = %v, want %s", body, e, rule)
				}
				if e.Offset < 0 || e.Offset > len(body) {
					t.Errorf("Read(%.80q): offset %d is outside the body of %d bytes", body, e.Offset, len(body))
				}
				if diff := cmp.Diff(Message{}, m); diff != "" {
					t.Errorf("Read(%.80q) left something in the message (-want +got):\n%s", body, diff)
				}
			}
		})
	}
	for rule := range refusals {
		if !slices.Contains(Rules(), rule) {
			t.Errorf("%s is not in Rules", rule)
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	var m Message
	var e *Error
	// Never written, so no memory is used.
	if err := Read(make([]byte, MaxBytes+1), &m); !errors.As(err, &e) || e.Rule != RuleSize {
		t.Errorf("Read = %v, want %s", err, RuleSize)
	}
}

func field(v string) Field { return Field{Value: v, Present: true} }

func TestAccepted(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", MaxName/2)
	tests := []struct {
		name, body string
		want       Message
	}{
		{"smallest request", `{"jsonrpc":"2.0","id":0,"method":"x"}`, Message{Kind: Request, Method: "x", ID: "0"}},
		{"white space", " \t\r\n{ \"jsonrpc\" : \"2.0\" , \"id\" : 1 ,\n\"method\" : \"x\" , \"params\" : { } }\n", Message{Kind: Request, Method: "x", ID: "1"}},
		{"members in another order", `{"params":{"arguments":{},"name":"a"},"method":"tools/call","id":"i","jsonrpc":"2.0"}`, Message{Kind: Request, Method: "tools/call", ID: `"i"`, Name: field("a")}},
		{"notification", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, Message{Kind: Notification, Method: "notifications/initialized"}},
		{"result", `{"jsonrpc":"2.0","id":7,"result":{"method":"tools/call"}}`, Message{Kind: Response, ID: "7"}},
		{"error", `{"jsonrpc":"2.0","id":"a","error":{"code":-1,"message":"m"}}`, Message{Kind: Response, ID: `"a"`}},
		{"error to an unknown request", `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}`, Message{Kind: Response, ID: "null"}},
		{"largest id", envelope(`"id":9007199254740991,"method":"x"`), Message{Kind: Request, Method: "x", ID: "9007199254740991"}},
		{"smallest id", envelope(`"id":-9007199254740991,"method":"x"`), Message{Kind: Request, Method: "x", ID: "-9007199254740991"}},
		{"empty id", envelope(`"id":"","method":"x"`), Message{Kind: Request, Method: "x", ID: `""`}},
		{"escaped id stays raw", envelope(`"id":"\u0061\"","method":"x"`), Message{Kind: Request, Method: "x", ID: `"\u0061\""`}},
		{"longest id", envelope(`"id":"` + strings.Repeat(`\u0061`, MaxID) + `","method":"x"`), Message{Kind: Request, Method: "x", ID: `"` + strings.Repeat(`\u0061`, MaxID) + `"`}},
		{"escapes in the envelope", `{"\u006asonrpc":"\u0032.0","\u0069d":1,"m\u0065thod":"tools\/c\u0061ll","p\u0061rams":{"\u006eame":"\ud83d\ude00\u00e9\"\\\/"}}`, Message{Kind: Request, Method: "tools/call", ID: "1", Name: field(`😀é"\/`)}},
		{"empty name", params(`"name":""`), Message{Kind: Request, Method: "x", ID: "1", Name: field("")}},
		{"longest name", params(`"name":"` + long + `"`), Message{Kind: Request, Method: "x", ID: "1", Name: field(long)}},
		{"nothing is trimmed or folded", params(`"name":" Ａ é "`), Message{Kind: Request, Method: "x", ID: "1", Name: field(" Ａ é ")}},
		{
			"every field",
			params(`"name":"n","uri":"u","taskId":"t","protocolVersion":"v","ref":{"type":"rt","name":"rn","uri":"ru"},"_meta":{"io.modelcontextprotocol/protocolVersion":"mv"},"notifications":{"resourceSubscriptions":["r1","r2"],"taskIds":["t1"]}`),
			Message{
				Kind: Request, Method: "x", ID: "1", Name: field("n"), URI: field("u"), TaskID: field("t"), Version: field("v"), MetaVersion: field("mv"),
				Ref: Ref{Type: field("rt"), Name: field("rn"), URI: field("ru")}, Resources: []string{"r1", "r2"}, TaskIDs: []string{"t1"},
			},
		},
		{"empty lists", params(`"notifications":{"resourceSubscriptions":[ ],"taskIds":[]}`), Message{Kind: Request, Method: "x", ID: "1"}},
		{"unknown members", envelope(`"id":1,"method":"x","meta":{"Name":1},"methods":[],"params":{"names":1,"task":{"ttl":1},"inputResponses":null,"data":{"name":1,"name2":2}}`), Message{Kind: Request, Method: "x", ID: "1", TaskRequested: true}},
		{"a task of any type is asked for", params(`"task":null`), Message{Kind: Request, Method: "x", ID: "1", TaskRequested: true}},
		{"a task beside the target", params(`"name":"n","task":{"ttl":1,"name":"o"},"taskId":"t"`), Message{Kind: Request, Method: "x", ID: "1", Name: field("n"), TaskID: field("t"), TaskRequested: true}},
		{"a task in the arguments", arguments(`{"task":{}}`), Message{Kind: Request, Method: "tools/call", ID: "1", Name: field("a")}},
		{"the capability", params(`"_meta":{"io.modelcontextprotocol/clientCapabilities":{"elicitation":{},"extensions":{"a/b":1,"io.modelcontextprotocol/tasks":{}}}}`), Message{Kind: Request, Method: "x", ID: "1", TasksCapability: true}},
		{"another capability", params(`"_meta":{"io.modelcontextprotocol/clientCapabilities":{"tasks":{"io.modelcontextprotocol/tasks":{}},"extensions":{"io.modelcontextprotocol/ui":{}}}}`), Message{Kind: Request, Method: "x", ID: "1"}},
		{"the capability elsewhere", params(`"io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}},"_meta":{"extensions":{"io.modelcontextprotocol/tasks":{}}}`), Message{Kind: Request, Method: "x", ID: "1"}},
		{"names in arguments are free", arguments(`{"Name":1,"name":2,"NAME":3,"name\u0000":4,"__proto__":5,"":6," ":7}`), Message{Kind: Request, Method: "tools/call", ID: "1", Name: field("a")}},
		{"target names elsewhere", arguments(`{"name":"b","params":{"name":"c"},"method":"d"}`), Message{Kind: Request, Method: "tools/call", ID: "1", Name: field("a")}},
		{"every value", arguments(`[0,-0,0.0,-1.5e+10,1E-2,1e400,12345678901234567890,"",true,false,null,[],{},[[]],{"a":{}}]`), Message{Kind: Request, Method: "tools/call", ID: "1", Name: field("a")}},
		{"every escape", arguments(`"\"\\\/\b\f\n\r\t\u0000\uFFFF\uD83D\uDE00"`), Message{Kind: Request, Method: "tools/call", ID: "1", Name: field("a")}},
		{"every length of UTF-8", arguments("\"\u007f\u0080\u07ff\u0800\uffff\U00010000\U0010ffff\""), Message{Kind: Request, Method: "tools/call", ID: "1", Name: field("a")}},
		{"deepest", arguments(nested("[", "]", MaxDepth-2)), Message{Kind: Request, Method: "tools/call", ID: "1", Name: field("a")}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var m Message
			if err := Read([]byte(test.body), &m); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, m); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

func TestListsAtTheirLimit(t *testing.T) {
	t.Parallel()
	body := params(`"notifications":{"taskIds":[` + strings.Repeat(`"a",`, MaxList-1) + `"b"]}`)
	var m Message
	if err := Read([]byte(body), &m); err != nil {
		t.Fatal(err)
	}
	if len(m.TaskIDs) != MaxList || m.TaskIDs[MaxList-1] != "b" {
		t.Errorf("read %d ids, want %d", len(m.TaskIDs), MaxList)
	}
}

func TestErrorKnowsTheIDReadBefore(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, body, want string }{
		{"number", envelope(`"id":42,"method":1`), "42"},
		{"string", envelope(`"id":"a\n","method":1`), `"a\n"`},
		{"id behind the fault", envelope(`"method":1,"id":42`), ""},
		{"syntax behind the id", envelope(`"id":42,"method":"x"`) + "x", "42"},
		{"null", envelope(`"id":null,"method":"x"`), ""},
		{"unacceptable", envelope(`"id":1.5,"method":"x"`), ""},
		{"twice", envelope(`"id":1,"id":2`), ""},
		{"twice elsewhere", envelope(`"id":1,"method":"x","params":{"id":1,"id":2}`), "1"},
		{"no version", `{"id":5,"method":"x"}`, "5"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			body := []byte(test.body)
			var m Message
			var e *Error
			if err := Read(body, &m); !errors.As(err, &e) {
				t.Fatalf("Read = %v, want a refusal", err)
			}
			clear(body) // the error outlives the body
			if e.ID != test.want {
				t.Errorf("ID = %q, want %q", e.ID, test.want)
			}
		})
	}
}

func TestErrorOffset(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body, marker string
	}{
		{"duplicate", envelope(`"method":"x","params":{"a":1,"b":2,"a":3}`), `"a":3`},
		{"fold", envelope(`"method":"x","METHOD":"y"`), `"METHOD"`},
		{"type", params(`"name":77`), `77`},
		{"escape", arguments(`{"k":"abcdefghi\q"}`), `\q`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var m Message
			var e *Error
			if err := Read([]byte(test.body), &m); !errors.As(err, &e) {
				t.Fatalf("Read = %v, want a refusal", err)
			}
			if want := strings.Index(test.body, test.marker); e.Offset != want {
				t.Errorf("Offset = %d, want %d", e.Offset, want)
			}
			if strings.Contains(e.Error(), test.marker) {
				t.Errorf("the text %q repeats the body", e)
			}
		})
	}
}

func TestEveryPrefixIsRefused(t *testing.T) {
	t.Parallel()
	body := `{"jsonrpc":"2.0","id":-12,"method":"tools/call","params":{"name":"é\u00e9","arguments":{"a":[1.5e3,true,false,null,"\ud83d\ude00"]}}}`
	for n := range len(body) {
		var m Message
		if err := Read([]byte(body[:n]), &m); err == nil {
			t.Errorf("accepted %q", body[:n])
		}
	}
}

func TestMessageIsReused(t *testing.T) {
	t.Parallel()
	var m Message
	for _, body := range []string{
		params(`"name":"a","uri":"u","notifications":{"taskIds":["a","b"],"resourceSubscriptions":["c"]}`),
		envelope(`"method":"x"`),
	} {
		if err := Read([]byte(body), &m); err != nil {
			t.Fatal(err)
		}
	}
	if m.Kind != Notification || m.ID != "" || m.Name.Present || m.URI.Present || len(m.TaskIDs)+len(m.Resources) != 0 {
		t.Errorf("the first message shows in the second: %+v", m)
	}
}
