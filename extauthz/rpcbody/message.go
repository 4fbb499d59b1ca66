package rpcbody

// Kind says which of the three JSON-RPC 2.0 messages a body is.
type Kind uint8

// The kinds of message. The zero Kind is none of them.
const (
	Request Kind = iota + 1
	Notification
	Response
)

// Message is what the gateway needs to know of one MCP message. Its strings
// may share the memory of the body they were read from: the body must not
// change while the Message is in use.
//
// The members of params are read whatever the method is; which of them is the
// target is for package extauthz to say.
type Message struct {
	Kind Kind
	// Method is empty for a Response.
	Method string
	// ID is the raw JSON text of `id`: a string or an integer; empty for a
	// Notification; "null" for an error Response to an unknown request.
	ID string

	// Name, URI and TaskID are params.name, params.uri and params.taskId.
	Name, URI, TaskID Field
	// Ref is params.ref of completion/complete.
	Ref Ref
	// Version is params.protocolVersion of initialize.
	Version Field
	// MetaVersion is params._meta["io.modelcontextprotocol/protocolVersion"],
	// which marks a message of the modern era (2026-07-28 and later).
	MetaVersion Field
	// TaskRequested is true when params.task is there, whatever it is: a client
	// of 2025-11-25 asks to be answered with a task.
	TaskRequested bool
	// TasksCapability is true when params._meta declares, in the client's
	// capabilities, the extension io.modelcontextprotocol/tasks: a server may
	// answer with a task.
	TasksCapability bool
	// Resources and TaskIDs are params.notifications.resourceSubscriptions and
	// .taskIds of subscriptions/listen. Read reuses the memory of the slices
	// for the next message read into the same Message.
	Resources, TaskIDs []string
}

// Field is a string member that may be absent.
type Field struct {
	Value   string
	Present bool
}

// Ref is params.ref of completion/complete.
type Ref struct {
	Type, Name, URI Field
}
