package api

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/mcpgate/mcpgate/registry"
)

// Limits of the API.
const (
	// MaxBodyBytes bounds a request body: enough for an apply of 100,000
	// servers.
	MaxBodyBytes = 128 << 20
	// MaxExplainBytes bounds the body of explain: a token and some names.
	MaxExplainBytes = 1 << 20
	// MaxPage bounds the resources of one list answer.
	MaxPage = 1000
	// MaxWait bounds how long one write may wait for Envoys.
	MaxWait = 5 * time.Minute
)

// WriteAnswer is the answer to every write.
type WriteAnswer struct {
	Outcomes []Outcome `json:"outcomes"`
	Warnings []Problem `json:"warnings,omitempty"`
	// Revision of the store after the write.
	Revision int64 `json:"revision"`
	DryRun   bool  `json:"dryRun,omitempty"`
	// Rollout is what the connected Envoys made of it; absent when the writer
	// did not wait.
	Rollout *Rollout `json:"rollout,omitempty"`
}

// Outcome is what a write did to one resource.
type Outcome struct {
	Kind   registry.Kind   `json:"kind"`
	Name   string          `json:"name"`
	Action registry.Action `json:"action"`
}

// Rollout says how far a revision has come.
type Rollout struct {
	// Envoys is the number of Envoys that were waited for.
	Envoys int `json:"envoys"`
	// Complete is false when the wait ended before all of them had answered.
	Complete bool `json:"complete"`
	// Rejections are the resources that an Envoy refused.
	Rejections []Rejection `json:"rejections,omitempty"`
}

// Rejection is a resource that an Envoy refused.
type Rejection struct {
	Node     string `json:"node"`
	Type     string `json:"type"`
	Resource string `json:"resource"`
	// Message is Envoy's own.
	Message string `json:"message"`
}

// ListAnswer is one page of a kind.
type ListAnswer struct {
	Items    []json.RawMessage `json:"items"`
	Next     string            `json:"next,omitempty"`
	Revision int64             `json:"revision"`
}

// ExplainRequest asks for a decision without sending anything to a server.
type ExplainRequest struct {
	Server string `json:"server"`
	Method string `json:"method"`
	Target string `json:"target,omitempty"`
	// Token is an access token to judge; else Scopes and Groups describe an
	// imagined caller, whose groups are those of Issuer, when given.
	Token  string   `json:"token,omitempty"`
	Issuer string   `json:"issuer,omitempty"`
	Scopes []string `json:"scopes,omitempty"`
	Groups []string `json:"groups,omitempty"`
}

// Problem is a registry.Problem with its resource.
type Problem struct {
	Resource string `json:"resource"`
	Field    string `json:"field,omitempty"`
	Message  string `json:"message"`
}

// Error is the body of every answer that is not a success, and the error that
// Client returns for it.
type Error struct {
	Status   int       `json:"status"`
	Message  string    `json:"message"`
	Problems []Problem `json:"problems,omitempty"`
}

// Error implements error.
func (e *Error) Error() string {
	lines := []string{e.Message}
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n  ")
}

// String is the form shown to users.
func (p Problem) String() string {
	s := p.Resource
	if p.Field != "" {
		s += ": " + p.Field
	}
	return s + ": " + p.Message
}

// Is maps the statuses back to the registry's sentinel errors.
func (e *Error) Is(target error) bool {
	switch target {
	case registry.ErrNotFound:
		return e.Status == 404
	case registry.ErrConflict:
		return e.Status == 409 || e.Status == 412
	case registry.ErrInvalid:
		return e.Status == 422
	}
	return false
}
