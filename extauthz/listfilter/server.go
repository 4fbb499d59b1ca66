package listfilter

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/session"
)

// The defaults of Config.
const (
	DefaultMaxReplyBytes = 16 << 20
	DefaultMaxHeldBytes  = 256 << 20
	DefaultMaxItems      = 10_000
	DefaultMaxStreams    = 256
	DefaultDeadline      = 30 * time.Second
)

// Sessions binds session ids to their owner; session.Keyring is one.
type Sessions interface {
	Wrap(owner session.Owner, id string) (string, error)
}

// Config is what a Server needs. Zero numbers stand for the defaults.
type Config struct {
	// Policies are those that ext_authz decides by.
	Policies *extauthz.Policies
	Sessions Sessions
	// Tasks, when nil, binds no task: a reply that starts one is refused.
	Tasks Tasks
	Log   *slog.Logger

	// MaxReplyBytes bounds one JSON reply or one event of a stream.
	MaxReplyBytes int
	// MaxHeldBytes bounds what all streams together hold of unfinished replies
	// and events. The memory used is up to about three times that, while
	// buffers grow.
	MaxHeldBytes int64
	// MaxItems bounds the items of one list.
	MaxItems int
	// MaxStreams bounds the open GET streams of one caller (issuer, subject and
	// client), on all servers together.
	MaxStreams int
	// Deadline bounds a held JSON reply from its headers to its end, and every
	// single step that does not wait for the upstream: Envoy has no timeout of
	// its own for FULL_DUPLEX_STREAMED.
	Deadline time.Duration
}

// Server is the ext_proc service. It is safe for concurrent use.
type Server struct {
	extprocv3.UnimplementedExternalProcessorServer
	config   Config
	policies policies
	budget   budget
	streams  streams
	meter    meter
}

// New returns a Server. Policies, Sessions and Log must be set.
func New(config Config) *Server {
	s := &Server{config: config, policies: compiled{config.Policies}}
	c := &s.config
	if c.MaxReplyBytes <= 0 {
		c.MaxReplyBytes = DefaultMaxReplyBytes
	}
	if c.MaxHeldBytes <= 0 {
		c.MaxHeldBytes = DefaultMaxHeldBytes
	}
	if c.MaxItems <= 0 {
		c.MaxItems = DefaultMaxItems
	}
	if c.Deadline <= 0 {
		c.Deadline = DefaultDeadline
	}
	if c.MaxStreams <= 0 {
		c.MaxStreams = DefaultMaxStreams
	}
	s.budget.limit = c.MaxHeldBytes
	s.streams = streams{limit: c.MaxStreams, open: make(map[principal]int)}
	s.meter.init()
	return s
}

// Register registers s as envoy.service.ext_proc.v3.ExternalProcessor.
func (s *Server) Register(g *grpc.Server) { extprocv3.RegisterExternalProcessorServer(g, s) }

// errGone means that Envoy ended the stream before the reply did: the client or
// the upstream went away. Nothing is owed to anybody.
var errGone = errors.New("envoy ended the stream")

// Process treats one reply. It returns when the reply is done, when Envoy ends
// the stream, or when a step exceeds its deadline, whatever state the reply or
// the stream is in.
func (s *Server) Process(stream extprocv3.ExternalProcessor_ProcessServer) error {
	ctx := stream.Context()
	x := &exchange{
		server:  s,
		out:     sender{stream: stream},
		watch:   newWatchdog(s.config.Deadline),
		share:   share{budget: &s.budget},
		decided: make(chan struct{}),
	}
	defer x.watch.stop()
	s.meter.inFlight.Add(1)
	defer s.meter.inFlight.Add(-1)

	// The exchange has its own goroutine so that a blocked one cannot keep the
	// stream open: Recv and Send end when this function returns.
	done := make(chan error, 1)
	go func() { done <- s.guarded(x) }()
	// From the decision on, the token may be revoked: a stream can last longer
	// than the trust in whoever opened it.
	changed := (<-chan struct{})(x.decided)
	for {
		select {
		case err := <-done:
			return s.finish(ctx, x, err)
		case <-x.watch.expired():
			return s.finish(ctx, x, reasonDeadline)
		case <-changed:
			var revoked bool
			caller := x.about().token
			if revoked, changed = s.policies.revoked(&caller); revoked {
				return s.finish(ctx, x, refusal{status: http.StatusUnauthorized, reason: reasonRevoked})
			}
		}
	}
}

// guarded runs the exchange; a panic becomes reasonPanic.
func (s *Server) guarded(x *exchange) (err error) {
	defer x.share.release()
	defer func() {
		if p := recover(); p != nil {
			// The value of a panic may hold bytes of the reply: only the stack
			// is logged.
			s.config.Log.Error("list filter panicked", "stack", string(debug.Stack()))
			err = reasonPanic
		}
	}()
	return x.run()
}

// finish ends the stream after the exchange ended with err: with a refusal if
// nothing was sent yet, else by cutting it.
func (s *Server) finish(ctx context.Context, x *exchange, err error) error {
	var refused refusal
	var why reason
	switch {
	case err == nil:
		if x.changed.Load() {
			s.meter.changed.Add(1)
		} else {
			s.meter.unchanged.Add(1)
		}
		return nil
	case errors.As(err, &refused):
	case errors.As(err, &why):
		refused = refusal{status: 502, reason: why}
	case errors.Is(err, errGone), ctx.Err() != nil:
		s.meter.aborted.Add(1)
		return status.Error(codes.Canceled, "stream ended")
	default:
		s.meter.aborted.Add(1)
		return err
	}
	if (refused.reason == reasonDeadline || refused.reason == reasonRevoked) && x.out.isFinished() {
		// The reply is complete; Envoy only forgot to end the stream.
		s.meter.unchanged.Add(1)
		return nil
	}
	s.meter.refuse(refused.reason)
	to := x.about()
	s.config.Log.WarnContext(ctx, "reply refused", "rule", string(refused.reason), "server", to.server, "inspect", string(to.mode))
	if x.out.refuse(immediate(refused.status, to.id)) {
		return nil
	}
	// The text reaches the access log by way of %RESPONSE_CODE_DETAILS%.
	return status.Error(codes.Aborted, string(refused.reason))
}

// refusal is a reason with a status other than 502.
type refusal struct {
	status int
	reason reason
}

// Error implements error.
func (r refusal) Error() string { return string(r.reason) }

// Unwrap gives the reason.
func (r refusal) Unwrap() error { return r.reason }

// gone turns the errors by which a stream ends into errGone.
func gone(err error) error {
	if errors.Is(err, io.EOF) || status.Code(err) == codes.Canceled || status.Code(err) == codes.DeadlineExceeded {
		return errGone
	}
	return err
}
