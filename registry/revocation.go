package registry

import (
	"encoding/json"
	"fmt"
	"time"
)

// Revocation takes back access tokens before they expire: every token for
// which all the fields that are set hold. At least one of Issuer, Subject,
// Client, TokenID and Session is set. All are compared byte for byte.
type Revocation struct {
	Name     string   `json:"name"`
	Metadata Metadata `json:"metadata,omitzero"`
	// Issuer is the name of an Issuer; alone it revokes every token of it.
	Issuer string `json:"issuer,omitempty"`
	// Subject, Client, TokenID and Session are what Issuer.Claims read from a
	// token: by default `sub`, `client_id`, `jti` and `sid`.
	Subject string `json:"subject,omitempty"`
	Client  string `json:"client,omitempty"`
	TokenID string `json:"tokenID,omitempty"`
	Session string `json:"session,omitempty"`
	// IssuedBefore, when set, spares tokens issued (`iat`) at that time or
	// later, so that whoever was thrown out can come back with a new token. A
	// token that does not say when it was issued is not spared.
	IssuedBefore Time `json:"issuedBefore,omitzero"`
	// Until, when set, is the time from which the Revocation has no effect any
	// more.
	Until Time `json:"until,omitzero"`
	// Reason is for the operator.
	Reason string `json:"reason,omitempty"`
}

// Key implements Resource.
func (r *Revocation) Key() Key { return Key{KindRevocation, r.Name} }

// Meta implements Resource.
func (r *Revocation) Meta() *Metadata { return &r.Metadata }

func (r *Revocation) validate(p *problems) {
	p.name(r.Name)
	if r.Issuer != "" && !isName(r.Issuer) {
		p.addf("issuer", "is not the name of an Issuer")
	}
	notControl := func(s string) bool { return !hasControl(s) }
	for _, f := range []struct{ field, value string }{
		{"subject", r.Subject}, {"client", r.Client}, {"tokenID", r.TokenID}, {"session", r.Session},
	} {
		p.text(f.field, f.value, maxIdentityBytes, notControl)
	}
	p.text("reason", r.Reason, maxDescriptionBytes, isText)
	if r.Issuer == "" && r.Subject == "" && r.Client == "" && r.TokenID == "" && r.Session == "" {
		p.addf("", "names nobody: one of subject, client, tokenID, session and issuer must be set")
	}
}

// Time is a time.Time whose JSON form is RFC 3339, to the second or finer. Read
// from JSON, it is in UTC.
type Time struct{ time.Time }

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) { return t.UTC().MarshalJSON() }

// UnmarshalJSON implements json.Unmarshaler.
func (t *Time) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf(`a time is a string such as "2026-11-25T12:00:00Z"`)
	}
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return fmt.Errorf(`%q is not a time such as "2026-11-25T12:00:00Z"`, s)
	}
	t.Time = v.UTC()
	return nil
}
