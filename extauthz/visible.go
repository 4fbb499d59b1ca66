package extauthz

// ListKind says what a list reply lists.
type ListKind uint8

// The lists. Each is the reply to the list method of that name.
const (
	Tools ListKind = iota
	Prompts
	Resources
	ResourceTemplates
)

// Filter says which items of a list a caller may see: those it may use. The
// zero Filter shows none.
type Filter struct {
	all      bool
	matchers []*matcher
}

// Visible is the filter for a caller with the given scopes. The name that it
// judges is the one that a use of the item would be judged by: `name` of a
// tool or prompt, `uri` of a resource. A resource template is judged by the
// text of its uriTemplate, byte for byte: a prefix that ends before the first
// expression covers all that the template can become, and a template that only
// some of the allowed URIs come from is not shown.
func (s *ServerPolicy) Visible(scopes ScopeSet, kind ListKind) Filter {
	var f Filter
	op := onResource
	switch kind {
	case Tools:
		op = onTool
	case Prompts:
		op = onPrompt
	case Resources, ResourceTemplates:
	}
	take := func(g *grant) bool {
		for _, r := range g.rules {
			if m := r.matcher(op); m.any {
				f.all = true
			} else if !m.empty() {
				f.matchers = append(f.matchers, m)
			}
		}
		return true
	}
	set := scopes
	if len(set.included) == 0 {
		set = s.view.expand(set)
	}
	s.grants.visit(set, take)
	s.view.wild.visit(set, take)
	return f
}

// All reports whether every item is visible.
func (f Filter) All() bool { return f.all }

// Allows reports whether the item of that name is visible.
func (f Filter) Allows(name string) bool {
	if f.all {
		return true
	}
	for _, m := range f.matchers {
		if _, ok := m.match(name); ok {
			return true
		}
	}
	return false
}
