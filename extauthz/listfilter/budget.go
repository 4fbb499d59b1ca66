package listfilter

import "sync/atomic"

// budget bounds the bytes of replies that all streams together hold.
type budget struct {
	limit int64
	used  atomic.Int64
}

// share is the part of the budget that one stream holds. It is not safe for
// concurrent use.
type share struct {
	budget *budget
	held   int64
}

// hold sets what the stream holds to n bytes. It returns reasonBudget, and
// leaves the share as it was, if that is more than there is.
func (s *share) hold(n int) error {
	more := int64(n) - s.held
	if used := s.budget.used.Add(more); more > 0 && used > s.budget.limit {
		s.budget.used.Add(-more)
		return reasonBudget
	}
	s.held = int64(n)
	return nil
}

// release gives everything back.
func (s *share) release() {
	s.budget.used.Add(-s.held)
	s.held = 0
}
