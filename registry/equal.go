package registry

import (
	"reflect"
	"time"
)

// Equal reports whether a and b are the same but for their Metadata. An empty
// list equals one that is not set.
func Equal(a, b Resource) bool {
	if a == nil || b == nil || a.Key() != b.Key() {
		return a == nil && b == nil
	}
	return equalValues(reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem())
}

func equalValues(a, b reflect.Value) bool {
	if a.Type() == reflect.TypeFor[time.Time]() {
		t, isTime := reflect.TypeAssert[time.Time](a)
		u, alsoTime := reflect.TypeAssert[time.Time](b)
		return isTime && alsoTime && t.Equal(u)
	}
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			if a.Type().Field(i).Type == reflect.TypeFor[Metadata]() {
				continue
			}
			if !equalValues(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !equalValues(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return equalValues(a.Elem(), b.Elem())
	default:
		return a.Equal(b)
	}
}

// Stamp is the copy of next that a store commits at the given revision, with
// its Metadata filled in as Tx.Put says. prev is what the store holds under the
// same key, nil when nothing. Times are kept in UTC and whole milliseconds, so
// that they survive encoding.
func Stamp(next, prev Resource, revision int64, now time.Time) Resource {
	now = now.UTC().Truncate(time.Millisecond)
	r := next.Clone()
	m := Metadata{Revision: revision, CreatedAt: now, UpdatedAt: now}
	if prev != nil {
		m.CreatedAt = prev.Meta().CreatedAt
	}
	if s, ok := r.(*Server); ok {
		m.Generation = revision
		if p, ok := prev.(*Server); ok && p != nil && s.SameUpstream(p) {
			m.Generation = p.Metadata.Generation
		}
	}
	*r.Meta() = m
	return r
}
