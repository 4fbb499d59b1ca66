package registry

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Kind names a kind of resource, as in the `kind:` member of a document.
type Kind string

// The kinds. SessionKey and Task are internal: they are stored and watched like
// the others, but no document, API answer or export carries them.
const (
	KindServer     Kind = "Server"
	KindIssuer     Kind = "Issuer"
	KindScope      Kind = "Scope"
	KindGroup      Kind = "Group"
	KindRevocation Kind = "Revocation"
	KindSessionKey Kind = "SessionKey"
	KindTask       Kind = "Task"
)

// Kinds lists the kinds a user can write, in the order in which they are shown
// and exported: whatever a resource refers to comes before it, or beside it.
func Kinds() []Kind {
	return []Kind{KindIssuer, KindServer, KindScope, KindGroup, KindRevocation}
}

// ParseKind reads a kind as a user types it: any case, singular or plural
// ("server", "Servers"). ok is false for anything else, internal kinds
// included.
func ParseKind(s string) (k Kind, ok bool) {
	for _, k := range Kinds() {
		if strings.EqualFold(s, string(k)) || strings.EqualFold(s, k.Plural()) {
			return k, true
		}
	}
	return "", false
}

// Plural is the lower-case plural used in paths and commands: "servers".
func (k Kind) Plural() string { return strings.ToLower(string(k)) + "s" }

// Key identifies one resource.
type Key struct {
	Kind Kind
	Name string
}

// String is the form shown to users: "server/weather".
func (k Key) String() string { return strings.ToLower(string(k.Kind)) + "/" + k.Name }

// Compare orders keys by kind, then by name, byte by byte.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Kind, o.Kind), cmp.Compare(k.Name, o.Name))
}

// maxKeyBytes bounds the names that stores accept, above what validation does
// and below what their databases do.
const maxKeyBytes = 4096

// CheckKey returns an ErrInvalid for a key that a Store cannot keep: of an
// unknown kind, or with a name that is empty, longer than 4096 bytes or not
// UTF-8.
func CheckKey(k Key) error {
	if _, err := New(k.Kind); err != nil {
		return fmt.Errorf("key %q: %w: %w", k, ErrInvalid, err)
	}
	if k.Name == "" || len(k.Name) > maxKeyBytes || !utf8.ValidString(k.Name) {
		return fmt.Errorf("key %.100q: %w: the name must be UTF-8 of 1 to %d bytes", k, ErrInvalid, maxKeyBytes)
	}
	return nil
}

// Storable returns an ErrInvalid for a resource that a Store cannot keep: for
// its own key or for one of its References.
func Storable(r Resource) error {
	if r == nil {
		return fmt.Errorf("no resource: %w", ErrInvalid)
	}
	if err := CheckKey(r.Key()); err != nil {
		return err
	}
	for _, k := range r.References() {
		if err := CheckKey(k); err != nil {
			return fmt.Errorf("%s: reference: %w", r.Key(), err)
		}
	}
	return nil
}

// Metadata is what the store keeps about a resource. Whatever a writer puts
// there is replaced by the store.
type Metadata struct {
	// Revision is the store-wide revision of the last change of this resource.
	Revision int64 `json:"revision,omitempty"`
	// Generation is set on Servers only: the revision at which the identity of
	// the upstream (see Server.SameUpstream) last changed. A deleted and
	// re-created server gets a new one; no generation is ever used twice.
	Generation int64     `json:"generation,omitempty"`
	CreatedAt  time.Time `json:"createdAt,omitzero"`
	UpdatedAt  time.Time `json:"updatedAt,omitzero"`
}

// Resource is one of *Server, *Issuer, *Scope, *Group, *Revocation,
// *SessionKey, *Task.
//
// A Resource that a Store has returned, or that was given to Tx.Put, is shared
// and must not be changed; Clone it first.
type Resource interface {
	Key() Key
	// Meta is the resource's metadata, for the store to fill in.
	Meta() *Metadata
	// Clone is a deep copy.
	Clone() Resource
	// References lists the resources that must exist for this one to be
	// valid, sorted and without duplicates.
	References() []Key
	// validate reports every problem that can be seen in the resource alone,
	// each with its field path.
	validate(*problems)
}

// New returns an empty resource of the kind.
func New(k Kind) (Resource, error) {
	switch k {
	case KindServer:
		return &Server{}, nil
	case KindIssuer:
		return &Issuer{}, nil
	case KindScope:
		return &Scope{}, nil
	case KindGroup:
		return &Group{}, nil
	case KindRevocation:
		return &Revocation{}, nil
	case KindSessionKey:
		return &SessionKey{}, nil
	case KindTask:
		return &Task{}, nil
	}
	return nil, fmt.Errorf("unknown kind %q", k)
}
