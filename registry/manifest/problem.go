package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mcpgate/mcpgate/registry"
)

// Error reports everything that is wrong with an input. It is a
// registry.ErrInvalid.
type Error struct {
	Problems []Problem
}

// Problem is one thing that cannot be read.
type Problem struct {
	// File is the name given to Parse, Line counts from 1.
	File string
	Line int
	// Field is the path of the field, such as "rules[0].tools[1]"; empty for
	// the document as a whole.
	Field   string
	Message string
}

// String is "file:line: field: message".
func (p Problem) String() string {
	s := fmt.Sprintf("%s:%d: ", p.File, p.Line)
	if p.Field != "" {
		s += p.Field + ": "
	}
	return s + p.Message
}

// Error implements error: one problem a line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Is makes errors.Is(err, registry.ErrInvalid) true.
func (e *Error) Is(target error) bool { return target == registry.ErrInvalid }

// maxProblems bounds what is reported of one input.
const maxProblems = 200

// report collects the problems of one input.
type report struct {
	file string
	list []Problem
}

func (r *report) addf(line int, field, format string, args ...any) {
	switch n := len(r.list); {
	case n < maxProblems:
		r.list = append(r.list, Problem{File: r.file, Line: line, Field: field, Message: fmt.Sprintf(format, args...)})
	case n == maxProblems:
		r.list = append(r.list, Problem{File: r.file, Line: line, Message: "there are more problems, which are not listed"})
	}
}

func (r *report) full() bool { return len(r.list) > maxProblems }

func (r *report) err() error {
	if len(r.list) == 0 {
		return nil
	}
	slices.SortStableFunc(r.list, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return &Error{Problems: r.list}
}

// quote is a piece of the input as it is shown: bounded, and printable.
func quote(s string) string {
	const limit = 64
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return strconv.Quote(s)
}
