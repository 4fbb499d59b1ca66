package listfilter

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// relayEvents reads a stream in the given pieces and writes every event again.
func relayEvents(limit int, pieces ...string) (string, error) {
	var out bytes.Buffer
	w := eventWriter{write: func(p []byte) error { out.Write(p); return nil }}
	r := eventReader{limit: limit, comment: w.comment, emit: func(e *event) error {
		if !e.hasData {
			return w.event(e, nil)
		}
		return w.event(e, &message{data: e.data})
	}}
	for _, p := range pieces {
		if err := r.feed([]byte(p)); err != nil {
			return out.String(), err
		}
	}
	return out.String(), nil
}

func TestEvents(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ in, want string }{
		"LF":                       {"data: a\n\ndata: b\n\n", "data: a\n\ndata: b\n\n"},
		"CR":                       {"data: a\r\rdata: b\r\r", "data: a\n\ndata: b\n\n"},
		"CRLF":                     {"data: a\r\n\r\ndata: b\r\n\r\n", "data: a\n\ndata: b\n\n"},
		"mixed":                    {"data: a\r\n\ndata: b\n\r\ndata: c\r\n\r", "data: a\n\ndata: b\n\ndata: c\n\n"},
		"LF then CR end two lines": {"data: a\n\rdata: b\n\n", "data: a\n\ndata: b\n\n"},
		"byte order mark":          {"\uFEFFdata: a\n\n", "data: a\n\n"},
		"second byte order mark":   {"\uFEFF\uFEFFdata: a\n\ndata: b\n\n", "data: b\n\n"},
		"late byte order mark":     {"data: a\n\n\uFEFFdata: b\n\n", "data: a\n\n"},
		"no space":                 {"data:a\nid:1\n\n", "id:1\ndata: a\n\n"},
		"only one space":           {"data:  a\n\n", "data:  a\n\n"},
		"multi-line data":          {"data: a\ndata:b\ndata\ndata: c\n\n", "data: a\ndata: b\ndata: \ndata: c\n\n"},
		"all fields":               {"event: message\nid: 7\nretry: 10\ndata: a\n\n", "event: message\nid: 7\nretry: 10\ndata: a\n\n"},
		"last one counts":          {"id: 1\nid: 2\nevent: a\nevent: b\ndata: x\n\n", "event: b\nid: 2\ndata: x\n\n"},
		"priming":                  {"id: 1\ndata:\n\n", "id: 1\ndata: \n\n"},
		"only an id":               {"id: 1\n\n", "id: 1\n\n"},
		"empty id resets":          {"id\ndata: x\n\n", "id\ndata: x\n\n"},
		"id with NUL":              {"id: a\x00b\ndata: x\n\n", "data: x\n\n"},
		"only a retry":             {"retry: 5\n\n", "retry: 5\n\n"},
		"comment":                  {": ping\n\n", ": ping\n\n"},
		"comment without end":      {":\n", ":\n\n"},
		"comment in an event":      {"data: a\n:c\ndata: b\n\n", ":c\n\ndata: a\ndata: b\n\n"},
		"unknown fields":           {"Data: x\n data: y\ndata : z\nfoo: bar\nfoo\n\n", ""},
		"empty lines":              {"\n\r\n\r\n\n", ""},
		"unfinished line":          {"data: a\n\ndata: b", "data: a\n\n"},
		"unfinished event":         {"data: a\n\ndata: b\n", "data: a\n\n"},
		"line separators are text": {"data: a\u2028\u2029\u0085\v\fb\n\n", "data: a\u2028\u2029\u0085\v\fb\n\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := relayEvents(1000, tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("whole: (-want +got)\n%s", diff)
			}
			got, err = relayEvents(1000, strings.Split(tc.in, "")...)
			if !strings.Contains(tc.in, "\x00") && err == nil && got != tc.want {
				t.Errorf("byte by byte: got %q, want %q", got, tc.want)
			}
			if err != nil {
				t.Error(err)
			}
			// What was written reads the same again.
			again, err := relayEvents(1000, tc.want)
			if err != nil || again != tc.want {
				t.Errorf("again: got %q, %v", again, err)
			}
		})
	}
}

func TestEventsEndAsSoonAsTheyCan(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"data: a\n\n", "data: a\r\r", "data: a\r\n\r"} {
		if got, err := relayEvents(100, in); err != nil || got != "data: a\n\n" {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

func TestEventLimit(t *testing.T) {
	t.Parallel()
	const limit = 100
	text := strings.Repeat("x", limit-len("data: "))
	for name, tc := range map[string]struct {
		pieces []string
		want   error
	}{
		"line at the limit":          {[]string{"data: " + text + "\n\n"}, nil},
		"line above":                 {[]string{"data: " + text + "x\n\n"}, reasonSize},
		"line at the limit in parts": {[]string{"data: ", text, "\n", "\n"}, nil},
		"line above in parts":        {[]string{"data: ", text, "x"}, reasonSize},
		"event above in lines":       {[]string{"data: " + text + "\n", "data: xxxxxx\n", "\n"}, reasonSize},
		"comment above":              {[]string{":", text, text}, reasonSize},
		"many events":                {[]string{strings.Repeat("data: "+text+"\n\n", 10)}, nil},
		"many comments in one event": {[]string{"data: x\n", strings.Repeat(":"+text+"\n", 10), "\n"}, nil},
	} {
		if _, err := relayEvents(limit, tc.pieces...); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

// TestEventsOfOneLineEndTakeLinearTime would take minutes if every line looked
// through the whole piece for the line end that never comes.
func TestEventsOfOneLineEndTakeLinearTime(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"\r", "\n", "\r\n"} {
		stop := time.AfterFunc(time.Minute, func() { panic("quadratic") })
		if _, err := relayEvents(1000, strings.Repeat("x"+end, 2<<20)); err != nil {
			t.Error(err)
		}
		stop.Stop()
	}
}

// cut cuts s at random places.
func cut(t *rapid.T, s string) []string {
	var pieces []string
	for s != "" {
		n := rapid.IntRange(1, min(len(s), rapid.SampledFrom([]int{1, 3, 20, 1000}).Draw(t, "size"))).Draw(t, "piece")
		pieces, s = append(pieces, s[:n]), s[n:]
	}
	return pieces
}

func TestEventsDoNotDependOnTheCutting(t *testing.T) {
	t.Parallel()
	line := rapid.SampledFrom([]string{"data: a", "data:b", "data", "id: 1", "event: e", "retry: 2", ": c", "", "", "x", "\uFEFFdata: c", "é"})
	end := rapid.SampledFrom([]string{"\n", "\r", "\r\n"})
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		for range rapid.IntRange(0, 20).Draw(t, "lines") {
			b.WriteString(line.Draw(t, "line") + end.Draw(t, "end"))
		}
		want, err := relayEvents(1000, b.String())
		if err != nil {
			t.Fatal(err)
		}
		got, err := relayEvents(1000, cut(t, b.String())...)
		if err != nil || got != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
	})
}
