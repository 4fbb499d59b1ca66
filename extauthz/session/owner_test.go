package session

import (
	"errors"
	"testing"
)

// TestEachFieldOfTheOwnerCounts: owners that differ in one field alone, which
// owners drawn at random never do.
func TestEachFieldOfTheOwnerCounts(t *testing.T) {
	t.Parallel()
	k := ring(key("k1", 1, 1))
	owner := Owner{Issuer: "corp", Subject: "alice", Client: "app", Server: "weather"}
	bound := mustWrap(t, k, owner, "1868a90c")
	for name, change := range map[string]func(*Owner){
		"issuer":  func(o *Owner) { o.Issuer = "other" },
		"subject": func(o *Owner) { o.Subject = "bob" },
		"client":  func(o *Owner) { o.Client = "" },
		"server":  func(o *Owner) { o.Server = "clock" },
	} {
		other := owner
		change(&other)
		if id, err := k.Unwrap(other, bound); !errors.Is(err, ErrUnknown) {
			t.Errorf("another %s got %q, %v", name, id, err)
		}
	}
}
