package registry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// InvalidError reports every problem of a refused write. It is an ErrInvalid.
type InvalidError struct {
	Problems []Problem
}

// Problem is one thing that is wrong with a resource, or suspicious about it.
type Problem struct {
	Key Key `json:"-"`
	// Field is the path of the field, such as "rules[0].servers[1]"; empty for
	// the resource as a whole.
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
}

// String is the form shown to users.
//
// A name that cannot be printed is quoted, since it may come from anywhere.
func (p Problem) String() string {
	var parts []string
	if p.Key != (Key{}) {
		name := p.Key.String()
		if !isPrintable(name) {
			name = fmt.Sprintf("%q", name)
		}
		parts = append(parts, name)
	}
	if p.Field != "" {
		parts = append(parts, p.Field)
	}
	return strings.Join(append(parts, p.Message), ": ")
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

// Validate reports every problem that can be seen in r alone, as an
// *InvalidError, or nil. Problems that need other resources are found by
// Apply.
func Validate(r Resource) error {
	if list := validate(r); len(list) > 0 {
		return &InvalidError{Problems: list}
	}
	return nil
}

func validate(r Resource) []Problem {
	p := problems{key: r.Key()}
	r.validate(&p)
	if len(p.list) == 0 {
		if b, err := Encode(r); err != nil {
			p.addf("", "cannot be encoded: %v", err)
		} else if len(b) > MaxResourceBytes {
			p.addf("", "is larger than %d bytes", MaxResourceBytes)
		}
	}
	return p.list
}

// maxProblems bounds what one resource can report.
const maxProblems = 100

// problems collects what is wrong with one resource.
type problems struct {
	key  Key
	list []Problem
}

// addf records a problem of the field with the given path.
func (p *problems) addf(field, format string, args ...any) {
	switch n := len(p.list); {
	case n < maxProblems:
		p.list = append(p.list, Problem{Key: p.key, Field: field, Message: fmt.Sprintf(format, args...)})
	case n == maxProblems:
		p.list = append(p.list, Problem{Key: p.key, Message: "has more problems, which are not listed"})
	}
}

// at is the path of an element of a list.
func at(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

// name checks the name of a Server or an Issuer.
func (p *problems) name(s string) {
	switch {
	case s == "":
		p.addf("name", "must be set")
	case !isName(s):
		p.addf("name", "must be 1 to %d lower-case letters, digits and -, and begin and end with a letter or a digit", maxNameBytes)
	}
}

// text checks an optional string.
func (p *problems) text(field, s string, limit int, ok func(string) bool) {
	switch {
	case len(s) > limit:
		p.addf(field, "is longer than %d bytes", limit)
	case !ok(s):
		p.addf(field, "has characters that cannot be printed")
	}
}

// required is text that must not be empty.
func (p *problems) required(field, s string, limit int, ok func(string) bool) {
	if s == "" {
		p.addf(field, "is empty")
		return
	}
	p.text(field, s, limit, ok)
}

// count reports whether a list is short enough to look at its entries.
func (p *problems) count(field string, n, limit int) bool {
	if n > limit {
		p.addf(field, "has %d entries; at most %d are accepted", n, limit)
	}
	return n <= limit
}

// distinct refuses an entry that is listed twice: one of the two was meant to
// be something else.
func (p *problems) distinct(field string, list []string) {
	for i, s := range list {
		if slices.Contains(list[:i], s) {
			p.addf(at(field, i), "is listed twice")
		}
	}
}

// names checks a list of names of one syntax, described by what.
func (p *problems) names(field string, list []string, limit int, ok func(string) bool, what string) {
	if !p.count(field, len(list), limit) {
		return
	}
	p.distinct(field, list)
	for i, s := range list {
		if !ok(s) {
			p.addf(at(field, i), "is not %s", what)
		}
	}
}

func (p *problems) scopeNames(field string, list []string, limit int) {
	p.names(field, list, limit, validScopeName, "the name of a Scope")
}

// audiences checks values of `aud`, compared byte for byte with the token's.
func (p *problems) audiences(field string, list []string) {
	if !p.count(field, len(list), maxAudiences) {
		return
	}
	p.distinct(field, list)
	for i, s := range list {
		p.required(at(field, i), s, maxAudienceBytes, isPrintable)
	}
}

// duration checks an optional duration, of which zero means the default.
func (p *problems) duration(field string, d Duration, lo, hi time.Duration) {
	if v := time.Duration(d); v != 0 && (v < lo || v > hi) {
		p.addf(field, "must be from %s to %s", lo, hi)
	}
}
