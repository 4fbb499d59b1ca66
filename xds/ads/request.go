package ads

import (
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// maxNodeLength bounds what a node says of itself, in bytes.
	maxNodeLength = 256
	// maxMessage bounds what is kept of an Envoy's words, as Envoy does.
	maxMessage = 4096
)

// readNode reads the node of a first request, which must have one.
func readNode(req *discoveryv3.DeltaDiscoveryRequest) (node, error) {
	n := req.GetNode()
	if n == nil {
		return node{}, status.Error(codes.InvalidArgument, "the first request has no node")
	}
	out := node{id: n.GetId(), cluster: n.GetCluster()}
	if v := n.GetUserAgentBuildVersion().GetVersion(); v != nil {
		out.version = strings.Join([]string{decimal(v.GetMajorNumber()), decimal(v.GetMinorNumber()), decimal(v.GetPatch())}, ".")
	}
	if out.id == "" || !printable(out.id) {
		return node{}, status.Errorf(codes.InvalidArgument, "the node id is empty, too long or not printable")
	}
	if !printable(out.cluster) {
		return node{}, status.Errorf(codes.InvalidArgument, "the node cluster is too long or not printable")
	}
	return out, nil
}

func printable(s string) bool {
	return len(s) <= maxNodeLength && utf8.ValidString(s) &&
		strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// handle is one request: perhaps an answer to a response, perhaps a change of
// what is subscribed to. Types that are not served are ignored, as the
// protocol allows.
func (st *stream) handle(req *discoveryv3.DeltaDiscoveryRequest) error {
	k, ok := kindOf(req.GetTypeUrl())
	if !ok {
		st.server.log.Debug("unknown type requested", "node", st.node.id, "type", clip(req.GetTypeUrl(), maxNodeLength))
		return nil
	}
	if nonce := req.GetResponseNonce(); nonce != "" {
		st.answered(k, nonce, req.GetErrorDetail())
	}
	if len(req.GetInitialResourceVersions()) > 0 {
		st.returning = true
	}
	if k == scopes && !st.asked {
		st.server.recoverUnanswered(st, req.GetInitialResourceVersions())
	}
	st.asked = st.asked || k == scopes

	st.mu.Lock()
	defer st.mu.Unlock()
	sub := &st.subs[k]
	add, drop := req.GetResourceNamesSubscribe(), req.GetResourceNamesUnsubscribe()
	if sub.started && len(add) == 0 && len(drop) == 0 {
		return nil
	}
	if err := sub.subscribe(add, drop, req.GetInitialResourceVersions()); err != nil {
		return err
	}
	st.poke()
	return nil
}

// answered is an acknowledgement or, with detail, a refusal.
func (st *stream) answered(k kind, nonce string, detail *statuspb.Status) {
	e := st.take(k, nonce, detail != nil)
	if e == nil {
		// Forgotten, or never sent. What is refused is in the words alone.
		if detail != nil {
			st.server.refusedUnknown(st, k, detail)
		}
		return
	}
	switch {
	case detail != nil:
		st.server.refused(st, k, e, words(k, detail))
	case e.trial:
		st.server.trust(k, e.items[0])
	}
	if k == clusters {
		st.tried()
	}
	st.settle()
}

// take finds the response. One of scopes that is refused closes the gate until
// its scopes are in the log again.
func (st *stream) take(k kind, nonce string, refused bool) *sent {
	st.mu.Lock()
	defer st.mu.Unlock()
	sub := &st.subs[k]
	for i, e := range sub.inflight {
		if e.nonce != nonce {
			continue
		}
		sub.inflight = append(sub.inflight[:i], sub.inflight[i+1:]...)
		if refused && k == scopes && len(e.items) > 1 {
			st.gate = closedGate
		}
		return e
	}
	return nil
}

// tried drops the refusal without a name, when all clusters of that response
// have been tried alone.
func (st *stream) tried() {
	st.mu.Lock()
	sub := &st.subs[clusters]
	over := st.unnamed && len(sub.alone) == 0 && !slices.ContainsFunc(sub.inflight, func(e *sent) bool { return e.trial })
	if over {
		st.unnamed = false
	}
	st.mu.Unlock()
	if over {
		st.server.mu.Lock()
		st.server.catalog.forgetUnnamed(st.node.id)
		st.server.mu.Unlock()
	}
}

// settle lets the stream, and those who wait for it, go on after an answer.
func (st *stream) settle() {
	st.notify()
	st.mu.Lock()
	stalled := st.stalled
	st.mu.Unlock()
	if stalled {
		st.poke()
	}
}

// notify tells those who wait for the stream where it is.
func (st *stream) notify() {
	st.mu.Lock()
	var settled []*waiter
	if at, ok := st.accepted(); ok {
		st.waiters = slices.DeleteFunc(st.waiters, func(w *waiter) bool {
			if at.seq < w.target {
				return false
			}
			settled = append(settled, w)
			return true
		})
	}
	st.mu.Unlock()
	for _, w := range settled {
		w.settle(true)
	}
}

// words are what an Envoy says of a refusal. It may quote what it refuses, so
// of a certificate only that it was refused is kept.
func words(k kind, detail *statuspb.Status) string {
	if k == secrets {
		return "the certificate was refused (code " + decimal(uint32(max(0, detail.GetCode()))) + "); Envoy's own log says why"
	}
	return clip(detail.GetMessage(), maxMessage)
}

// clip bounds a text from outside, in bytes, and makes it valid UTF-8 without
// control characters.
func clip(s string, limit int) string {
	s = s[:min(len(s), limit)]
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}

// position is where the stream is in a log; what was removed before that it
// does not need.
func (st *stream) position(k kind) uint64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	sub := &st.subs[k]
	if !sub.begun || sub.fresh {
		return math.MaxUint64
	}
	return sub.position
}
