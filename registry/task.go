package registry

// Task says whose a task is that an upstream has started in a reply (MCP
// 2025-11-25 tasks, io.modelcontextprotocol/tasks). It is internal: see
// KindSessionKey. It is no reference to its Server, which may be deleted.
//
// Only hashes are kept: to some servers, whoever knows the id of a task may
// use it.
type Task struct {
	// Name is a hash of the server, the generation of its upstream and the id.
	Name     string   `json:"name"`
	Metadata Metadata `json:"metadata,omitzero"`
	// Server is the server's name, for whoever looks into the store.
	Server string `json:"server"`
	// Owner is a hash of the principal; empty when two have been given the same
	// id, so that it is nobody's.
	Owner string `json:"owner,omitempty"`
	// ExpiresAt is the Unix time, in seconds, from which it has no effect.
	ExpiresAt int64 `json:"expiresAt"`
}

// Key implements Resource.
func (t *Task) Key() Key { return Key{KindTask, t.Name} }

// Meta implements Resource.
func (t *Task) Meta() *Metadata { return &t.Metadata }

// Clone implements Resource.
func (t *Task) Clone() Resource {
	c := *t
	return &c
}

// References implements Resource: a Task refers to nothing.
func (t *Task) References() []Key { return nil }

func (t *Task) validate(p *problems) {
	if t.Name == "" || len(t.Name) > maxKeyIDBytes || !isVisible(t.Name) {
		p.addf("name", "must be a hash")
	}
	if len(t.Owner) > maxKeyIDBytes || !isVisible(t.Owner) {
		p.addf("owner", "must be a hash")
	}
	if !isName(t.Server) {
		p.addf("server", "must be the name of a Server")
	}
	if t.ExpiresAt <= 0 {
		p.addf("expiresAt", "must be set")
	}
}
