package listfilter

import (
	"sync"

	"github.com/mcpgate/mcpgate/extauthz/session"
)

// principal is whose streams are counted together, on all servers.
type principal struct{ issuer, subject, client string }

func principalOf(o session.Owner) principal { return principal{o.Issuer, o.Subject, o.Client} }

// streams counts the open streams of each principal. It holds nothing of a
// principal without one.
type streams struct {
	limit int

	mu    sync.Mutex
	open  map[principal]int
	total int
}

// enter counts one more stream of p and reports true, unless p has as many as
// it may.
func (s *streams) enter(p principal) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[p] >= s.limit {
		return false
	}
	s.open[p]++
	s.total++
	return true
}

// leave undoes one enter.
func (s *streams) leave(p principal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.open[p]--; s.open[p] == 0 {
		delete(s.open, p)
	}
}

// count is the number of open streams and of the principals that have one.
func (s *streams) count() (total, principals int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total, len(s.open)
}
