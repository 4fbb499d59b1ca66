package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// taskServer is an MCP server of both eras that answers calls with tasks, as
// the Go SDK cannot. It believes everybody: whose a task is, is the gateway's
// matter.
//
// The tool says how a task is started: "json", "events", "broken" (the stream
// ends before the reply, which a replay has), "same" (always the same id),
// "plain" (no task), "ask" (input is required first).
type taskServer struct {
	name string

	mu    sync.Mutex
	count int
	// log has what arrived: the method and its target.
	log []string
	// started is the id of the task that a broken stream has not told.
	lost string
	// held, when set, is waited for before the reply of "events".
	held chan struct{}
}

// arrived returns what has arrived since the last time.
func (s *taskServer) arrived() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.log
	s.log = nil
	return log
}

type taskMessage struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name          string          `json:"name"`
		URI           string          `json:"uri"`
		TaskID        string          `json:"taskId"`
		Task          json.RawMessage `json:"task"`
		RequestState  string          `json:"requestState"`
		Notifications struct {
			TaskIDs []string `json:"taskIds"`
		} `json:"notifications"`
		Meta struct {
			Capabilities struct {
				Extensions map[string]json.RawMessage `json:"extensions"`
			} `json:"io.modelcontextprotocol/clientCapabilities"`
		} `json:"_meta"`
	} `json:"params"`
}

// ServeHTTP implements http.Handler.
func (s *taskServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		s.replay(w)
		return
	}
	body, err := io.ReadAll(r.Body)
	var m taskMessage
	if err != nil || json.Unmarshal(body, &m) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	target := m.Params.Name + m.Params.URI + m.Params.TaskID + strings.Join(m.Params.Notifications.TaskIDs, ",")
	s.log = append(s.log, strings.TrimSpace(m.Method+" "+target))
	s.mu.Unlock()
	_, capable := m.Params.Meta.Capabilities.Extensions["io.modelcontextprotocol/tasks"]
	switch {
	case len(m.ID) == 0:
		w.WriteHeader(http.StatusAccepted)
	case m.Method == "tools/call" && m.Params.Name == "ask" && m.Params.RequestState == "",
		m.Method == "prompts/get" && m.Params.RequestState == "", m.Method == "resources/read" && m.Params.RequestState == "":
		s.reply(w, m, `{"resultType":"input_required","inputRequests":{"q":{"method":"elicitation/create","params":{"message":"?"}}},"requestState":"step-1"}`)
	case m.Method == "tools/call" && m.Params.Name != "plain" && (capable || m.Params.Task != nil):
		s.start(w, m, capable)
	case m.Method == "subscriptions/listen":
		s.events(w, `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{}}`,
			fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":%q,"status":"completed","result":{}}}`, m.Params.Notifications.TaskIDs[0]))
	case strings.HasPrefix(m.Method, "tasks/"):
		s.reply(w, m, fmt.Sprintf(`{"resultType":"complete","taskId":%q,"status":"working","ttl":60000}`, m.Params.TaskID))
	default:
		s.reply(w, m, `{"resultType":"complete","content":[]}`)
	}
}

// start answers a call with a task.
func (s *taskServer) start(w http.ResponseWriter, m taskMessage, modern bool) {
	s.mu.Lock()
	s.count++
	id := fmt.Sprintf("%s-%d", s.name, s.count)
	if m.Params.Name == "same" {
		id = "same"
	}
	result := fmt.Sprintf(`{"task":{"taskId":%q,"status":"working","createdAt":"2025-11-25T10:30:00Z","lastUpdatedAt":"2025-11-25T10:30:00Z","ttl":60000}}`, id)
	if modern {
		result = fmt.Sprintf(`{"resultType":"task","taskId":%q,"status":"working","createdAt":"2025-11-25T10:30:00Z","lastUpdatedAt":"2025-11-25T10:30:00Z","ttlMs":60000}`, id)
	}
	reply := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
	held := s.held
	if m.Params.Name == "broken" {
		s.lost = reply
	}
	s.mu.Unlock()
	const progress = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`
	switch m.Params.Name {
	case "broken":
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "id: e1\nretry: 10\ndata:\n\n")
	case "events":
		s.events(w, progress)
		if held != nil {
			<-held
		}
		s.events(w, progress, reply)
	default:
		s.reply(w, m, result)
	}
}

func (s *taskServer) reply(w http.ResponseWriter, m taskMessage, result string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
}

func (s *taskServer) events(w http.ResponseWriter, messages ...string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, m := range messages {
		_, _ = io.WriteString(w, "data: "+m+"\n\n")
		_ = http.NewResponseController(w).Flush()
	}
}

// replay is the stream after Last-Event-ID.
func (s *taskServer) replay(w http.ResponseWriter) {
	s.mu.Lock()
	lost := s.lost
	s.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, "id: e2\ndata: "+lost+"\n\n")
}

// startTask is a tools/call of an era that may be answered with a task, and its
// headers.
func startTask(modern bool, tool string) (body string, header []string) {
	if modern {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,`+capableMeta+`}}`, tool), modernHeader("tools/call", tool)
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"task":{"ttl":60000}}}`, tool), legacyHeader()
}

// useTask is a request about a task, and its headers.
func useTask(modern bool, method, id string) (body string, header []string) {
	if modern {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":2,"method":%q,"params":{"taskId":%q,"inputResponses":{},`+capableMeta+`}}`, method, id), modernHeader(method, id)
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":2,"method":%q,"params":{"taskId":%q}}`, method, id), legacyHeader()
}

const capableMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}`

func legacyHeader() []string { return []string{"MCP-Protocol-Version: 2025-11-25"} }

func modernHeader(method, name string) []string {
	return slices.DeleteFunc([]string{"MCP-Protocol-Version: 2026-07-28", "Mcp-Method: " + method, "Mcp-Name: " + name},
		func(h string) bool { return h == "Mcp-Name: " })
}
