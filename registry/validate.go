package registry

import (
	"errors"
	"fmt"
	"strings"
)

// InvalidError reports every problem of a refused write. It is an ErrInvalid.
type InvalidError struct {
	Problems []Problem
}

// Problem is one thing that is wrong with a resource.
type Problem struct {
	Key Key `json:"-"`
	// Field is the path of the field, such as "rules[0].servers[1]"; empty for
	// the resource as a whole.
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
}

// String is the form shown to users.
func (p Problem) String() string {
	s := p.Key.String()
	if p.Field != "" {
		s += ": " + p.Field
	}
	return s + ": " + p.Message
}

// Error implements error: one problem a line.
func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Is makes errors.Is(err, ErrInvalid) true.
func (e *InvalidError) Is(target error) bool { return errors.Is(ErrInvalid, target) }

// problems collects what is wrong with one resource.
type problems struct {
	key  Key
	list []Problem
}

// addf records a problem of the field with the given path.
func (p *problems) addf(field, format string, args ...any) {
	p.list = append(p.list, Problem{Key: p.key, Field: field, Message: fmt.Sprintf(format, args...)})
}

// Validate reports every problem that can be seen in r alone, as an
// *InvalidError, or nil. Problems that need other resources are found by
// Apply.
func Validate(r Resource) error {
	p := problems{key: r.Key()}
	r.validate(&p)
	if len(p.list) > 0 {
		return &InvalidError{Problems: p.list}
	}
	return nil
}

func (s *Server) validate(*problems)     {}
func (i *Issuer) validate(*problems)     {}
func (s *Scope) validate(*problems)      {}
func (g *Group) validate(*problems)      {}
func (k *SessionKey) validate(*problems) {}
