package rpcbody

import (
	"strings"
	"testing"
)

// messages are messages of every method a client sends, in the shapes of the
// revisions 2024-11-05 to 2026-07-28, with what is to be read of each: the
// kind, the method and the members that are there.
var messages = []struct{ want, body string }{
	{"request initialize id=0 version=2025-11-25", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"roots":{"listChanged":true},"sampling":{},"elicitation":{"form":{},"url":{}}},"clientInfo":{"name":"inspector","title":"Inspector","version":"2.12.0"}}}`},
	{"request initialize id=1 version=2024-11-05", `{"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"mcp","version":"0.1.0"}},"jsonrpc":"2.0","id":1}`},
	{"request server/discover id=\"d-1\" meta=2026-07-28", `{"jsonrpc":"2.0","id":"d-1","method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"}}}}`},
	{"request ping id=3", `{"jsonrpc":"2.0","id":3,"method":"ping"}`},
	{"request ping id=\"123\"", `{"jsonrpc":"2.0","id":"123","method":"ping","params":{}}`},
	{"request tools/list id=2", `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`},
	{"request tools/list id=4", `{"jsonrpc":"2.0","id":4,"method":"tools/list","params":{"cursor":"eyJwYWdlIjoyfQ=="}}`},
	{"request tools/list id=5 meta=2026-07-28", `{"jsonrpc":"2.0","id":5,"method":"tools/list","params":{"_meta":{"progressToken":"p","io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{}},"traceparent":"00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"}}}`},
	{"request prompts/list id=6", `{"jsonrpc":"2.0","id":6,"method":"prompts/list","params":{}}`},
	{"request resources/list id=7", `{"jsonrpc":"2.0","id":7,"method":"resources/list","params":{"cursor":""}}`},
	{"request resources/templates/list id=8", `{"jsonrpc":"2.0","id":8,"method":"resources/templates/list"}`},
	{"request tools/call id=9 name=get_forecast", `{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"get_forecast","arguments":{"city":"Zürich","days":3,"units":null}}}`},
	{"request tools/call id=10 name=now", `{"jsonrpc":"2.0","id":10,"method":"tools/call","params":{"name":"now"}}`},
	{"request tools/call id=11 name=admin.tools-list_v2 task", `{"jsonrpc":"2.0","id":11,"method":"tools/call","params":{"_meta":{"progressToken":1},"name":"admin.tools-list_v2","arguments":{},"task":{"ttl":60000}}}`},
	{"request tools/call id=12 name=book meta=2026-07-28", `{"jsonrpc":"2.0","id":12,"method":"tools/call","params":{"name":"book","arguments":{"flight":"LX 18"},"inputResponses":{"confirm":{"action":"accept","content":{"ok":true}}},"requestState":"b3BhcXVl","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`},
	{"request tools/call id=12 name=book meta=2026-07-28 tasks", `{"jsonrpc":"2.0","id":12,"method":"tools/call","params":{"name":"book","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}}}`},
	{"request tools/call id=13", `{"jsonrpc":"2.0","id":13,"method":"tools/call","params":{"arguments":{"name":"not the target"}}}`},
	{"request tools/call id=14", `{"jsonrpc":"2.0","id":14,"method":"tools/call"}`},
	{"request prompts/get id=15 name=review", `{"jsonrpc":"2.0","id":15,"method":"prompts/get","params":{"name":"review","arguments":{"code":"def f():\n\treturn \"\\u00e9\""}}}`},
	{"request resources/read id=16 uri=file:///project/src/main.rs", `{"jsonrpc":"2.0","id":16,"method":"resources/read","params":{"uri":"file:///project/src/main.rs"}}`},
	{"request resources/read id=17 uri=ui://widget/a b?x=%00#é", `{"jsonrpc":"2.0","id":17,"method":"resources/read","params":{"uri":"ui:\/\/widget\/a b?x=%00#\u00e9"}}`},
	{"request resources/subscribe id=18 uri=weather://zurich", `{"jsonrpc":"2.0","id":18,"method":"resources/subscribe","params":{"uri":"weather://zurich"}}`},
	{"request resources/unsubscribe id=19 uri=weather://zurich", `{"jsonrpc":"2.0","id":19,"method":"resources/unsubscribe","params":{"uri":"weather://zurich"}}`},
	{"request resources/directory/read id=20 uri=skill://a/", `{"jsonrpc":"2.0","id":20,"method":"resources/directory/read","params":{"uri":"skill://a/"}}`},
	{"request subscriptions/listen id=21 meta=2026-07-28", `{"jsonrpc":"2.0","id":21,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true,"promptsListChanged":false},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`},
	{"request subscriptions/listen id=22 resources=a://1,a://2 taskIds=t1", `{"jsonrpc":"2.0","id":22,"method":"subscriptions/listen","params":{"notifications":{"resourcesListChanged":true,"resourceSubscriptions":["a://1","a://2"],"taskIds":["t1"]}}}`},
	{"request completion/complete id=23 ref.type=ref/prompt ref.name=code_review", `{"jsonrpc":"2.0","id":23,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"code_review","title":"Code"},"argument":{"name":"language","value":"py"},"context":{"arguments":{"name":"x"}}}}`},
	{"request completion/complete id=24 ref.type=ref/resource ref.uri=file:///{path}", `{"jsonrpc":"2.0","id":24,"method":"completion/complete","params":{"argument":{"name":"path","value":""},"ref":{"uri":"file:///{path}","type":"ref/resource"}}}`},
	{"request logging/setLevel id=25", `{"jsonrpc":"2.0","id":25,"method":"logging/setLevel","params":{"level":"info"}}`},
	{"request tasks/get id=26 taskId=786512e2-9e0d", `{"jsonrpc":"2.0","id":26,"method":"tasks/get","params":{"taskId":"786512e2-9e0d"}}`},
	{"request tasks/cancel id=27 taskId=786512e2-9e0d", `{"jsonrpc":"2.0","id":27,"method":"tasks/cancel","params":{"taskId":"786512e2-9e0d"}}`},
	{"request tasks/result id=28 taskId=786512e2-9e0d", `{"jsonrpc":"2.0","id":28,"method":"tasks/result","params":{"taskId":"786512e2-9e0d"}}`},
	{"request tasks/list id=29", `{"jsonrpc":"2.0","id":29,"method":"tasks/list","params":{"cursor":"c"}}`},
	{"request tasks/update id=30 taskId=t meta=2026-07-28", `{"jsonrpc":"2.0","id":30,"method":"tasks/update","params":{"taskId":"t","inputResponses":{"q":{"action":"decline"}},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`},
	{"request skills/list id=31", `{"jsonrpc":"2.0","id":31,"method":"skills/list"}`},
	{"request skills/get id=32 uri=skill://pdf", `{"jsonrpc":"2.0","id":32,"method":"skills/get","params":{"uri":"skill://pdf"}}`},
	{"notification notifications/initialized", `{"jsonrpc":"2.0","method":"notifications/initialized"}`},
	{"notification notifications/roots/list_changed", `{"jsonrpc":"2.0","method":"notifications/roots/list_changed","params":{"_meta":{}}}`},
	{"notification notifications/cancelled", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"123","reason":"User requested cancellation"}}`},
	{"notification notifications/progress", `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"abc","progress":0.5,"total":1e2,"message":"Reticulating…"}}`},
	{"notification notifications/tasks/status taskId=t", `{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"t","status":"working","createdAt":"2025-11-25T10:30:00Z","ttl":null}}`},
	{"response id=1", `{"jsonrpc":"2.0","id":1,"result":{}}`},
	{"response id=\"s-2\"", `{"jsonrpc":"2.0","id":"s-2","result":{"roots":[{"uri":"file:///home/a","name":"Home"}]}}`},
	{"response id=3", `{"jsonrpc":"2.0","id":3,"result":{"role":"assistant","content":{"type":"text","text":"Paris."},"model":"m","stopReason":"endTurn"}}`},
	{"response id=4", `{"jsonrpc":"2.0","id":4,"result":{"action":"accept","content":{"name":"Monalisa","age":30}}}`},
	{"response id=5", `{"jsonrpc":"2.0","id":5,"error":{"code":-1,"message":"User rejected sampling request","data":{"name":"x"}}}`},
	{"response id=null", `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}`},
}

// summary says what was read of a message.
func summary(m *Message) string {
	kinds := map[Kind]string{Request: "request", Notification: "notification", Response: "response"}
	words := []string{kinds[m.Kind]}
	if m.Method != "" {
		words = append(words, m.Method)
	}
	add := func(name string, f Field) {
		if f.Present {
			words = append(words, name+"="+f.Value)
		}
	}
	add("id", Field{m.ID, m.ID != ""})
	add("name", m.Name)
	add("uri", m.URI)
	add("taskId", m.TaskID)
	add("version", m.Version)
	add("ref.type", m.Ref.Type)
	add("ref.name", m.Ref.Name)
	add("ref.uri", m.Ref.URI)
	add("resources", Field{strings.Join(m.Resources, ","), m.Resources != nil})
	add("taskIds", Field{strings.Join(m.TaskIDs, ","), m.TaskIDs != nil})
	add("meta", m.MetaVersion)
	if m.TaskRequested {
		words = append(words, "task")
	}
	if m.TasksCapability {
		words = append(words, "tasks")
	}
	return strings.Join(words, " ")
}

func TestMessages(t *testing.T) {
	t.Parallel()
	for _, test := range messages {
		t.Run(test.want, func(t *testing.T) {
			t.Parallel()
			var m Message
			if err := Read([]byte(test.body), &m); err != nil {
				t.Fatal(err)
			}
			if got := summary(&m); got != test.want {
				t.Errorf("read %s, want %s", got, test.want)
			}
		})
	}
}
