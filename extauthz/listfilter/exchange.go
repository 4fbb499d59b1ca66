package listfilter

import (
	"bytes"
	"sync"
	"sync/atomic"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// exchange is the treatment of one reply.
type exchange struct {
	server *Server
	out    sender
	watch  watchdog
	share  share
	// changed says that something was taken out of the reply.
	changed atomic.Bool

	mu sync.Mutex
	// decision is written once; about reads it for the goroutine that ends the
	// stream.
	decision decision
	// decided is closed when decision is complete.
	decided chan struct{}
}

// ending says how a reply ends.
type ending uint8

const (
	notYet ending = iota
	// endOfStream came with a piece of the body.
	endOfStream
	// endTrailers came with trailers in place of endOfStream.
	endTrailers
)

// about returns the decision as far as it was read.
func (x *exchange) about() decision {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.decision
}

// run treats the reply. Its error is a reason, a refusal, errGone or one of
// gRPC.
func (x *exchange) run() error {
	first, err := x.out.stream.Recv()
	if err != nil {
		return gone(err)
	}
	d, err := readDecision(first.GetMetadataContext())
	x.mu.Lock()
	x.decision = d
	x.mu.Unlock()
	if err != nil {
		return refusal{status: 500, reason: reasonDecision}
	}
	close(x.decided)
	h := first.GetResponseHeaders()
	if h == nil {
		return refusal{status: 500, reason: reasonProtocol}
	}
	policy, ok := x.server.policies.policy(d.server)
	if !ok {
		return reasonServer
	}
	forwarded, ok := policy.upstream(d.generation)
	if !ok {
		return reasonServer
	}
	r := readReply(h.GetHeaders())
	if r.isForeign(forwarded) {
		return reasonStatus
	}
	if d.mode == modeResume && !r.isError() {
		who := principalOf(d.caller)
		if !x.server.streams.enter(who) {
			return refusal{status: 429, reason: reasonStreams}
		}
		defer x.server.streams.leave(who)
	}
	if err := x.treat(d, r, h.GetEndOfStream()); err != nil {
		return err
	}
	return x.drain()
}

// treat chooses the treatment by mode, status and type; ended is true for a
// reply without a body.
func (x *exchange) treat(d decision, r reply, ended bool) error {
	sessionID := ""
	if d.mode == modeSession && !r.isError() && len(r.sessionIDs) > 0 {
		var err error
		if sessionID, err = x.bind(d, r.sessionIDs); err != nil {
			return err
		}
	}
	pass := d.mode == modeSession && (!r.isError() || r.body != otherBody)
	switch {
	case r.isError() && (ended || r.encoded && !pass):
		// No body of ours can follow these headers: the reply is replaced.
		return refusal{status: r.status, reason: reasonStatus}
	case ended && !pass && !r.isEmpty() && r.body != eventBody:
		return reasonSyntax
	case ended:
		return x.out.send(headers(sessionID, ""), true)
	case r.isEmpty():
		return x.relay(sessionID, false)
	case pass:
		return x.relay(sessionID, true)
	case r.isError() && r.body == otherBody:
		return x.replace(d, r)
	case r.encoded:
		return reasonEncoding
	case r.body == jsonBody:
		return x.hold(d, r)
	case r.body == eventBody:
		return x.events(d)
	}
	return reasonContentType
}

// bind returns the session id that the client gets for the upstream's.
func (x *exchange) bind(d decision, ids []string) (string, error) {
	if len(ids) != 1 || ids[0] == "" {
		return "", reasonSession
	}
	bound, err := x.server.config.Sessions.Wrap(d.caller, ids[0])
	if err != nil || bound == "" {
		// The error may name the id, which is a secret.
		return "", reasonSession
	}
	return bound, nil
}

// next returns the next piece of the body, and how the reply ends if it does.
func (x *exchange) next() ([]byte, ending, error) {
	m, err := x.out.stream.Recv()
	if err != nil {
		return nil, notYet, gone(err)
	}
	switch m := m.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_ResponseBody:
		if m.ResponseBody.GetEndOfStream() {
			return m.ResponseBody.GetBody(), endOfStream, nil
		}
		return m.ResponseBody.GetBody(), notYet, nil
	case *extprocv3.ProcessingRequest_ResponseTrailers:
		return nil, endTrailers, nil
	}
	return nil, notYet, reasonProtocol
}

// nextStep is next for a reply whose headers were sent: the upstream may take
// its time, but nobody else may.
func (x *exchange) nextStep() ([]byte, ending, error) {
	x.watch.stop()
	defer x.watch.begin()
	return x.next()
}

// relay sends the headers and passes the body on as it comes, or drops it.
func (x *exchange) relay(sessionID string, body bool) error {
	if err := x.out.send(headers(sessionID, ""), false); err != nil {
		return err
	}
	w := x.writer()
	for {
		piece, last, err := x.nextStep()
		if err != nil {
			return err
		}
		if body {
			if err := w.write(piece); err != nil {
				return err
			}
		}
		if err := x.flush(w, last); err != nil || last != notYet {
			return err
		}
	}
}

// replace waits for the end of a body that cannot be shown and sends an error
// in its place. Status and headers stay: Retry-After is for the client.
func (x *exchange) replace(d decision, r reply) error {
	for {
		_, last, err := x.next()
		if err != nil {
			return err
		}
		if last != notYet {
			return x.sendHeld("application/json", &message{data: errorBody(r.status, d.id)}, last)
		}
	}
}

// hold collects a JSON body, filters it and sends it.
func (x *exchange) hold(d decision, r reply) error {
	whole, last, err := x.collect()
	if err == nil {
		var m *message
		if m, err = x.judge(d, whole); err == nil {
			return x.sendHeld("", m, last)
		}
	}
	var why reason
	if r.isError() && asReason(err, &why) {
		if last == notYet {
			return refusal{status: r.status, reason: why}
		}
		return x.sendHeld("application/json", &message{data: errorBody(r.status, d.id)}, last)
	}
	return err
}

// collect returns a whole body within the limits.
func (x *exchange) collect() (whole []byte, last ending, err error) {
	for last == notYet {
		var piece []byte
		if piece, last, err = x.next(); err != nil {
			return nil, notYet, err
		}
		if len(whole)+len(piece) > x.server.config.MaxReplyBytes {
			return nil, notYet, reasonSize
		}
		if err := x.share.hold(len(whole) + len(piece)); err != nil {
			return nil, notYet, err
		}
		if whole == nil {
			// Small lists come in one piece, whose memory is ours.
			whole = piece
		} else {
			whole = append(whole, piece...)
		}
	}
	return whole, last, nil
}

// sendHeld sends a reply that was held until its end.
func (x *exchange) sendHeld(contentType string, m *message, last ending) error {
	x.watch.begin()
	if err := x.out.send(headers("", contentType), false); err != nil {
		return err
	}
	w := x.writer()
	for piece := range m.pieces() {
		if err := w.write(piece); err != nil {
			return err
		}
	}
	return x.flush(w, last)
}

// events sends the headers and each finished event.
func (x *exchange) events(d decision) error {
	if err := x.out.send(headers("", ""), false); err != nil {
		return err
	}
	w := x.writer()
	write := eventWriter{write: w.write}
	read := eventReader{
		limit:   x.server.config.MaxReplyBytes,
		comment: write.comment,
		emit:    func(e *event) error { return x.event(d, write, e) },
	}
	for {
		piece, last, err := x.nextStep()
		if err != nil {
			return err
		}
		if err := read.feed(piece); err != nil {
			return err
		}
		if err := x.share.hold(read.held()); err != nil {
			return err
		}
		if err := x.flush(w, last); err != nil || last != notYet {
			return err
		}
	}
}

// event writes what the caller may see of one event.
func (x *exchange) event(d decision, write eventWriter, e *event) error {
	if len(bytes.TrimSpace(e.data)) == 0 {
		// No message in it: a priming id, a retry.
		if e.hasData {
			return write.event(e, &message{})
		}
		return write.event(e, nil)
	}
	m, err := x.read(d, e.data)
	if err != nil {
		return err
	}
	if d.mode == modeList && !m.method && !sameID(m.id, d.id) {
		// A reply to somebody else's request: nothing of it is shown, but the
		// position in the stream stays.
		if len(e.id)+len(e.retry) == 0 {
			return nil
		}
		return write.event(&event{id: e.id, retry: e.retry}, nil)
	}
	return write.event(e, m)
}

// judge reads a whole reply.
func (x *exchange) judge(d decision, whole []byte) (*message, error) {
	m, err := x.read(d, whole)
	if err != nil || d.mode != modeList {
		return m, err
	}
	switch {
	case m.method:
		return nil, reasonShape
	case m.failed && (m.id == nil || string(m.id) == "null"):
		// A server that could not read the request's id says null
		// (JSON-RPC 2.0, section 5).
		return m, nil
	case !sameID(m.id, d.id):
		return nil, reasonID
	}
	return m, nil
}

// read reads one message.
func (x *exchange) read(d decision, data []byte) (*message, error) {
	if d.mode == modeTask {
		return x.started(d, data)
	}
	m, err := x.splicer(d).read(data)
	if err != nil {
		return nil, err
	}
	if len(m.edits) > 0 {
		x.changed.Store(true)
	}
	if d.mode == modeResume && m.result {
		// A replay may hold the reply to a call that asked for a task.
		if _, err := x.started(d, data); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// splicer returns the reader of a message. It asks the policy anew for each
// list: a stream may outlive the policy it began under.
func (x *exchange) splicer(d decision) *splicer {
	return &splicer{
		own:      d.own,
		maxItems: x.server.config.MaxItems,
		visible: func(l list) (filter, error) {
			policy, ok := x.server.policies.policy(d.server)
			if !ok {
				return nil, reasonServer
			}
			return policy.visible(d.scopes, l), nil
		},
	}
}

func (x *exchange) writer() *bodyWriter { return &bodyWriter{out: &x.out, watch: x.watch} }

// flush sends what w holds, and the end of the reply as it came.
func (x *exchange) flush(w *bodyWriter, last ending) error {
	if err := w.flush(last == endOfStream); err != nil || last != endTrailers {
		return err
	}
	x.watch.begin()
	return x.out.send(trailers(), true)
}

// drain waits for Envoy to end a stream whose reply is complete. Ending it from
// here would be a race with what Envoy has still to read.
func (x *exchange) drain() error {
	x.watch.begin()
	for {
		if _, err := x.out.stream.Recv(); err != nil {
			return nil //nolint:nilerr // any end of a finished stream is a good one
		}
	}
}
