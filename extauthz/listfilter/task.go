package listfilter

import (
	"context"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/mcpgate/mcpgate/extauthz/session"
)

// Tasks binds tasks to the principals that started them; task.Table is one.
type Tasks interface {
	// Bind returns when the binding is durable. A ttl of zero is one that the
	// upstream has not said.
	Bind(ctx context.Context, owner session.Owner, generation int64, id string, ttl time.Duration) error
}

// The members of a result that start a task: CreateTaskResult of MCP 2025-11-25
// has `task` with `taskId` and `ttl`; that of the extension
// io.modelcontextprotocol/tasks (SEP-2663) has them itself, beside a
// `resultType` of "task". Both are read in every era: whatever a client takes
// for a task, nobody else may use.
var (
	startNames = [...]string{"resultType", "taskId", "ttlMs", "task"}
	taskNames  = [...]string{"taskId", "ttl"}
)

const (
	startType = iota
	startID
	startTTL
	startTask
)

// maxTTL is the longest ttl, in milliseconds, that is not as good as none.
const maxTTL = float64(365 * 24 * time.Hour / time.Millisecond)

// started is a task that a reply starts.
type started struct {
	id string
	// unusable is true for an id that is no string, or none that JSON readers
	// agree on.
	unusable bool
	// present is true when there is an id at all.
	present bool
	ttl     time.Duration
}

// starts is what a message says about the tasks that it starts.
type starts struct {
	// modern counts only when resultType says so.
	modern, legacy started
	isTask         bool
}

// readStarts reads one JSON-RPC message. What it does not look at may be
// anything that is JSON: it is passed on as it is.
func readStarts(data []byte) (*message, []started, error) {
	r := &reading{scanner: scanner{data: data, lax: true}, message: message{data: data}, starts: &starts{}}
	if err := r.whole(); err != nil {
		return nil, nil, err
	}
	var all []started
	if s := r.starts; s.isTask && s.modern.present {
		all = append(all, s.modern)
	}
	if s := r.starts; s.legacy.present {
		all = append(all, s.legacy)
	}
	return &r.message, all, nil
}

// start reads a result for the tasks that it starts.
func (r *reading) start() error {
	if r.next() != '{' {
		return r.value(1)
	}
	return r.object(1, func(name text, _ int) error {
		member, err := r.find(name, startNames[:])
		if err != nil {
			return err
		}
		s := r.starts
		switch {
		case member == startType && r.next() == '"':
			t, err := r.text()
			s.isTask = err == nil && string(r.unescaped(t)) == "task"
			return err
		case member == startID:
			return r.taskID(2, &s.modern)
		case member == startTTL:
			return r.ttl(2, &s.modern)
		case member == startTask && r.next() == '{':
			return r.object(2, func(name text, _ int) error {
				member, err := r.find(name, taskNames[:])
				switch {
				case err != nil:
					return err
				case member == 0:
					return r.taskID(3, &s.legacy)
				case member == 1:
					return r.ttl(3, &s.legacy)
				}
				return r.value(3)
			})
		}
		return r.value(2)
	})
}

func (r *reading) taskID(depth int, into *started) error {
	into.present = true
	if r.next() != '"' {
		into.unusable = true
		return r.value(depth)
	}
	start := r.pos
	t, err := r.text()
	if err != nil {
		return err
	}
	id := r.raw(t)
	if t.escaped {
		// An error is a half of a surrogate pair.
		id, err = jsontext.AppendUnquote(nil, r.data[start:r.pos])
		into.unusable = err != nil
	}
	into.id = string(id)
	return nil
}

func (r *reading) ttl(depth int, into *started) error {
	raw, err := r.rawValue(depth)
	if ms, bad := strconv.ParseFloat(string(raw), 64); bad == nil && ms > 0 && ms < maxTTL {
		into.ttl = time.Duration(ms * float64(time.Millisecond))
	}
	return err
}

// bindTasks makes the tasks that a reply starts the caller's. Until then the
// client must not see the reply.
func (x *exchange) bindTasks(d decision, tasks []started) error {
	for _, t := range tasks {
		if t.unusable || x.server.config.Tasks == nil {
			return reasonTask
		}
		ctx := x.out.stream.Context()
		if err := x.server.config.Tasks.Bind(ctx, d.caller, d.generation, t.id, t.ttl); err != nil {
			// What ends the stream names the rule; the cause is known here only.
			x.server.config.Log.WarnContext(ctx, "task not bound", "server", d.server, "error", err)
			return reasonTask
		}
	}
	return nil
}

// started reads a message of a reply that may start a task, and binds the task.
func (x *exchange) started(d decision, data []byte) (*message, error) {
	m, tasks, err := readStarts(data)
	if err != nil {
		return nil, err
	}
	// The result of another request is not this one's to bind.
	if len(tasks) > 0 && d.mode == modeTask && !sameID(m.id, d.id) {
		return nil, reasonID
	}
	return m, x.bindTasks(d, tasks)
}
