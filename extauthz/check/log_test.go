package check

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestOccasionalTakesOneASecond(t *testing.T) {
	t.Parallel()
	var o occasional
	t0 := time.Unix(100, 0)
	for i, want := range []struct {
		at      time.Time
		skipped int64
		ok      bool
	}{{t0, 0, true}, {t0, 0, false}, {t0.Add(999 * time.Millisecond), 0, false}, {t0.Add(time.Second), 2, true}, {t0.Add(time.Second), 0, false}} {
		if skipped, ok := o.take(want.at); skipped != want.skipped || ok != want.ok {
			t.Errorf("%d: take = %d, %v; want %d, %v", i, skipped, ok, want.skipped, want.ok)
		}
	}
}

func TestLogOfAFailureShowsNoSecret(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"keys", "panic", "broken"} {
		var logged bytes.Buffer
		f := newFixture()
		f.config.Log = slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
		denied(t, f.check(t, request("POST", "weather", callBody, as(token)...)))
		if s := logged.String(); !strings.Contains(s, `"level":"WARN"`) || strings.Contains(s, "a secret in a panic") || strings.Contains(s, "Bearer") {
			t.Errorf("%s: %s", token, s)
		}
	}
	var logged bytes.Buffer
	f := newFixture()
	f.config.Log = slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	allowed(t, f.check(t, request("POST", "credential", callBody)))
	if s := logged.String(); !strings.Contains(s, `"effect":"allow"`) || strings.Contains(s, "s3cret") || strings.Contains(s, "Bearer") {
		t.Error(s)
	}
}
