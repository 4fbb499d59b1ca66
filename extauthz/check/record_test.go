package check

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestRecordIsOneJSONLine(t *testing.T) {
	t.Parallel()
	r := Record{
		Time:      time.Date(2026, 11, 25, 15, 4, 5, 678901000, time.FixedZone("", 3600)),
		RequestID: "r-1", Server: "weather", Generation: 3, Verb: "POST", Method: "tools/call",
		Target: "x\"\\\n\x1b[31m\u009b\u2028\x7f\xff<é>", Issuer: "corp", Subject: "alice", Client: "cli",
		Effect: EffectDeny, Rule: "scope-insufficient", Grant: "g", Status: 403, Reason: "why", Latency: 1500 * time.Microsecond,
	}
	line := string(r.AppendJSON(nil))
	if strings.ContainsAny(line, "\n\x1b\x7f\u009b\u2028") || !utf8.ValidString(line) {
		t.Errorf("the line has a raw control character: %q", line)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	want := map[string]any{
		"time": "2026-11-25T14:04:05.678901Z", "request_id": "r-1", "server": "weather", "generation": 3.0, "verb": "POST",
		"method": "tools/call", "target": "x\"\\\n\x1b[31m\u009b\u2028\x7f\ufffd<é>", "issuer": "corp", "subject": "alice",
		"client": "cli", "effect": "deny", "rule": "scope-insufficient", "grant": "g", "status": 403.0, "reason": "why", "latency_us": 1500.0,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}

	empty := Record{}
	if err := json.Unmarshal(empty.AppendJSON(nil), &got); err != nil {
		t.Error(err)
	}
}

func FuzzAppendString(f *testing.F) {
	f.Add("a\"\\\x00\u0085\u2029\xf0\x90\x80")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil {
			t.Fatal(err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); utf8.ValidString(s) && got != want {
			t.Fatalf("%q reads back as %q", s, got)
		}
	})
}
