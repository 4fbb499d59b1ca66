package check

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/mcpgate/mcpgate/extauthz"
	tokenexchange "github.com/mcpgate/mcpgate/extauthz/exchange"
	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
	"github.com/mcpgate/mcpgate/extauthz/session"
	"github.com/mcpgate/mcpgate/extauthz/token"
	"github.com/mcpgate/mcpgate/registry"
)

// Verifier turns an access token into a caller; *token.Verifier is one. An
// error that is no *token.Error is taken for a fault of ours.
type Verifier interface {
	Verify(ctx context.Context, rawToken string, want token.Want) (*extauthz.Caller, error)
}

// Sessions opens session ids that were bound to their owner;
// *session.Keyring is one.
type Sessions interface {
	Unwrap(owner session.Owner, bound string) (id string, err error)
}

// Tasks knows who started which task; *task.Table is one.
type Tasks interface {
	Owns(owner session.Owner, generation int64, id string) bool
}

// Secrets resolves references to secrets; *secret.Resolver is one.
type Secrets interface {
	Resolve(ref registry.SecretRef) (string, error)
}

// Exchanger trades the client's token for one of the upstream's;
// *exchange.Client is one. An error that is no *exchange.Error is taken for a
// fault of ours.
type Exchanger interface {
	Token(ctx context.Context, r tokenexchange.Request) (string, error)
}

// The values of Config.Denial.
const (
	// DenialHTTP: 403.
	DenialHTTP = "http"
	// DenialJSONRPC: 200 with a JSON-RPC error, for requests that no scope
	// could allow.
	DenialJSONRPC = "jsonrpc"
)

// Config is what a Server needs. Policies, Tokens, Sessions, Secrets and Log
// must be set.
type Config struct {
	Policies *extauthz.Policies
	Tokens   Verifier
	Sessions Sessions
	Secrets  Secrets
	// Exchanges, when nil, exchanges nothing: upstreams that need it are refused.
	Exchanges Exchanger
	// Tasks, when nil, knows of no task.
	Tasks Tasks
	// AllowedOrigins are the values of Origin accepted from browsers, compared
	// byte for byte; one that ends in ":*" stands for any port.
	AllowedOrigins []string
	// Denial is DenialHTTP, also when empty, or DenialJSONRPC.
	Denial string
	// Audit, when set, is called with the record of each check, before Envoy
	// gets the answer. It must not block.
	Audit func(Record)
	Log   *slog.Logger
	// Ready, when set, reports whether the policies are complete. Every check
	// before that is refused.
	Ready func() bool
	// MaxInFlight bounds the checks that are under way: the next one is refused
	// with 503 and not judged. DefaultMaxInFlight when zero.
	MaxInFlight int
	// Body are the limits of the strict reader.
	Body rpcbody.Limits
}

// DefaultMaxInFlight is for Config.MaxInFlight. A check takes some 10 µs, so
// that the last one of as many would still be in time for Envoy; more of them
// only wait, most for the keys of an issuer.
const DefaultMaxInFlight = 4096

// Server answers checks. It is safe for concurrent use.
type Server struct {
	policies      *extauthz.Policies
	tokens        Verifier
	sessions      Sessions
	secrets       Secrets
	exchanges     Exchanger
	tasks         Tasks
	origins       origins
	denialJSONRPC bool
	audit         func(Record)
	log           *slog.Logger
	ready         func() bool
	maxInFlight   int64
	body          rpcbody.Limits
	meter         meter

	failures, panics occasional
}

// New returns a Server.
func New(c Config) *Server {
	s := &Server{
		policies:      c.Policies,
		tokens:        c.Tokens,
		sessions:      c.Sessions,
		secrets:       c.Secrets,
		exchanges:     c.Exchanges,
		tasks:         c.Tasks,
		origins:       newOrigins(c.AllowedOrigins),
		denialJSONRPC: c.Denial == DenialJSONRPC,
		audit:         c.Audit,
		log:           c.Log,
		ready:         c.Ready,
		maxInFlight:   int64(cmp.Or(c.MaxInFlight, DefaultMaxInFlight)),
		body:          c.Body,
	}
	s.meter.init()
	return s
}

// Register adds the Authorization service to a gRPC server that was made with
// ServerOptions.
func (s *Server) Register(g *grpc.Server) {
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: authv3.Authorization_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Check", Handler: s.handle}},
		Metadata:    authv3.Authorization_ServiceDesc.Metadata,
	}, s)
}

// handle is the gRPC method handler. Whatever happens below it, what leaves it
// is a decided answer or an error: Envoy takes an empty response for an allow.
func (s *Server) handle(_ any, ctx context.Context, read func(any) error, interceptor grpc.UnaryServerInterceptor) (response any, err error) { //nolint:revive // the order is grpc's
	e := &exchange{start: time.Now()}
	e.overload = s.meter.inFlight.Add(1) > s.maxInFlight
	defer s.meter.inFlight.Add(-1)
	defer func() {
		if p := recover(); p != nil {
			response, err = s.panicked(ctx, e, p), nil
		}
	}()
	if err := read(e); err != nil {
		return nil, err
	}
	a, err := s.intercept(ctx, e, interceptor)
	// The deadline is Envoy's timeout and ends here first. An allow sent now
	// could still win.
	if ctxErr := ctx.Err(); ctxErr != nil {
		s.record(ctx, e, &answer{effect: EffectFail, rule: extauthz.RuleDeadline, reason: ctxErr.Error()})
		return nil, status.FromContextError(ctxErr).Err()
	}
	if err != nil {
		return nil, err
	}
	if !a.decided() {
		a = s.fail(e, extauthz.RuleInternal, "a check ended without an answer")
	}
	s.record(ctx, e, a)
	return a, nil
}

// intercept judges, through the interceptor of the gRPC server if it has one.
func (s *Server) intercept(ctx context.Context, e *exchange, interceptor grpc.UnaryServerInterceptor) (*answer, error) {
	if interceptor == nil {
		return s.judge(ctx, e), nil
	}
	got, err := interceptor(ctx, e,
		&grpc.UnaryServerInfo{Server: s, FullMethod: authv3.Authorization_Check_FullMethodName},
		func(ctx context.Context, _ any) (any, error) { return s.judge(ctx, e), nil })
	a, _ := got.(*answer)
	return a, err
}

// panicked is the answer after a panic. The value of a panic that is not the
// runtime's could hold anything, so that only its type is logged.
func (s *Server) panicked(ctx context.Context, e *exchange, p any) *answer {
	what := fmt.Sprintf("%T", p)
	if re, ok := p.(runtime.Error); ok {
		what = re.Error()
	}
	s.logPanic(ctx, what)
	a := s.fail(e, extauthz.RulePanic, "panic: "+what)
	if !e.recorded {
		s.record(ctx, e, a)
	}
	return a
}
