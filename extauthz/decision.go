package extauthz

// Decision is the outcome for one request. The zero Decision denies.
type Decision struct {
	Allow bool
	// Rule names the rule that decided; see rules.go.
	Rule Rule
	// Reason explains the decision to the operator. It never leaves the
	// program on the public listener.
	Reason string
	// Scopes is the challenge of an insufficient-scope denial: the smallest set
	// of scopes that would allow the operation together with what the caller
	// has, in stable order. Of a missing or invalid token: the baseline.
	Scopes []string
	// Data is the raw JSON of `data` of the JSON-RPC error, empty for none.
	Data string
	// Grant is, for an allow, the scope that grants the operation.
	Grant string
	// Reply says what the reply needs; meaningful for an allow only.
	Reply Reply
}

// Reply says which treatment the reply of an allowed request needs.
type Reply uint8

// The treatments of a reply. Plain takes the route without a filter, the
// others the one with it.
const (
	// Plain: nothing in the reply depends on the caller.
	Plain Reply = iota
	// List: the reply to a list method shows only what the caller may use.
	List
	// Session: the reply to initialize may carry a session id to be bound.
	Session
	// Resume: a stream that lasts. It may replay list replies, and must end when
	// the caller's token is revoked.
	Resume
	// Task: the reply may start a task, which is then the caller's.
	Task
)

// String is the value of the `inspect` metadata: "none", "list", "session",
// "resume" or "task".
func (r Reply) String() string {
	switch r {
	case List:
		return "list"
	case Session:
		return "session"
	case Resume:
		return "resume"
	case Task:
		return "task"
	case Plain:
	}
	return "none"
}
