package registry

import (
	"errors"
	"fmt"
)

// checkIntrospection reports servers for which it is not clear whom to ask
// about an opaque token: those whose access.issuers name two Issuers with
// introspection. A server that accepts every Issuer is a warning only, since
// the fault is that of no single write; it refuses opaque tokens.
func (a *application) checkIntrospection() ([]Problem, error) {
	var list []Problem
	for _, out := range a.outcomes {
		switch r := a.puts[out.Key].(type) {
		case *Server:
			second, err := a.secondOpaque(r)
			if err != nil {
				return nil, err
			}
			if second >= 0 {
				list = append(list, Problem{Key: out.Key, Field: at("access.issuers", second), Message: ambiguousOpaque})
			}
		case *Issuer:
			if r.Introspection == nil {
				continue
			}
			found, err := a.checkOpaqueIssuer(r)
			if err != nil {
				return nil, err
			}
			list = append(list, found...)
		}
	}
	return list, nil
}

const ambiguousOpaque = "is a second Issuer with introspection: an opaque token does not say which of them to ask"

// secondOpaque is the index of the second Issuer with introspection that the
// server names, or -1.
func (a *application) secondOpaque(s *Server) (int, error) {
	found := 0
	for i, name := range s.Access.Issuers {
		if len(s.Access.Issuers) == 1 {
			break
		}
		r, err := a.lookup(Key{KindIssuer, name})
		if err != nil {
			return -1, err
		}
		if issuer, ok := r.(*Issuer); ok && issuer.Introspection != nil {
			if found++; found == 2 {
				return i, nil
			}
		}
	}
	return -1, nil
}

// checkOpaqueIssuer looks at the servers that name an Issuer with
// introspection, and warns when there is another one.
func (a *application) checkOpaqueIssuer(issuer *Issuer) ([]Problem, error) {
	var list []Problem
	referrers, err := a.tx.Referrers(issuer.Key())
	if err != nil {
		return nil, err
	}
	for _, key := range referrers {
		if key.Kind != KindServer || a.puts[key] != nil {
			continue
		}
		r, err := a.lookup(key)
		if err != nil {
			return nil, err
		}
		s, ok := r.(*Server)
		if !ok {
			continue
		}
		second, err := a.secondOpaque(s)
		if err != nil {
			return nil, err
		}
		if second >= 0 && len(list) < maxListed {
			list = append(list, Problem{Key: issuer.Key(), Field: "introspection", Message: fmt.Sprintf("%s names another Issuer with introspection: an opaque token does not say which of them to ask", key)})
		}
	}
	others, err := a.tx.List(KindIssuer)
	if err != nil {
		return nil, err
	}
	for _, key := range others {
		if key == issuer.Key() {
			continue
		}
		r, err := a.lookup(key)
		if err != nil {
			return nil, err
		}
		if other, ok := r.(*Issuer); ok && other.Introspection != nil {
			a.warnings = append(a.warnings, Problem{
				Key: issuer.Key(), Field: "introspection",
				Message: fmt.Sprintf("%s has introspection too: servers must name one of them in access.issuers, the others refuse opaque tokens", key),
			})
			break
		}
	}
	return list, nil
}

// lookup is what the transaction holds under the key, nil when nothing.
func (a *application) lookup(key Key) (Resource, error) {
	r, err := a.tx.Get(key)
	if errors.Is(err, ErrNotFound) {
		return nil, nil //nolint:nilnil // nothing is an answer
	}
	return r, err
}
