package check

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// occasional lets one through a second, and counts the others: in an outage
// every check fails for the same reason.
type occasional struct{ second, skipped atomic.Int64 }

func (o *occasional) take(now time.Time) (skipped int64, ok bool) {
	s := now.Unix()
	if last := o.second.Load(); last == s || !o.second.CompareAndSwap(last, s) {
		o.skipped.Add(1)
		return 0, false
	}
	return o.skipped.Swap(0), true
}

// record hands out the audit record and logs what the operator must know.
func (s *Server) record(ctx context.Context, e *exchange, a *answer) {
	now := time.Now()
	s.meter.observe(a.effect, a.rule, now.Sub(e.start))
	debugging := s.log.Enabled(ctx, slog.LevelDebug)
	if s.audit == nil && !debugging && a.effect != EffectFail {
		return
	}
	e.recorded = true
	r := e.record(a, now)
	if s.audit != nil {
		s.audit(r)
	}
	level := slog.LevelDebug
	var skipped int64
	if a.effect == EffectFail {
		var ok bool
		if skipped, ok = s.failures.take(now); ok {
			level = slog.LevelWarn
		}
	}
	if level == slog.LevelDebug && !debugging {
		return
	}
	s.log.LogAttrs(ctx, level, "check",
		slog.String("request_id", r.RequestID),
		slog.String("server", r.Server),
		slog.Int64("generation", r.Generation),
		slog.String("verb", r.Verb),
		slog.String("method", r.Method),
		slog.String("target", r.Target),
		slog.String("subject", r.Subject),
		slog.String("effect", r.Effect),
		slog.String("rule", string(r.Rule)),
		slog.Int("status", r.Status),
		slog.String("reason", r.Reason),
		slog.Duration("latency", r.Latency),
		slog.Int64("failures_not_logged", skipped))
}

// logPanic logs where the gateway panicked.
func (s *Server) logPanic(ctx context.Context, what string) {
	if skipped, ok := s.panics.take(time.Now()); ok {
		s.log.ErrorContext(ctx, "panic in a check", "panic", what, "stack", string(debug.Stack()), "panics_not_logged", skipped)
	}
}
