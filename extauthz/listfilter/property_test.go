package listfilter

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// cutMessages cuts a body at random places; the end comes with the last piece,
// with an empty one, or with trailers.
func cutMessages(t *rapid.T, body string) (in messages, trailers bool) {
	for _, p := range cut(t, body) {
		in = append(in, piece(p))
	}
	switch end := rapid.SampledFrom([]string{"last", "empty", "trailers"}).Draw(t, "end"); {
	case end == "trailers":
		return append(in, endTrailer()), true
	case end == "last" && len(in) > 0:
		in[len(in)-1] = last(string(in[len(in)-1].GetResponseBody().GetBody()))
		return in, false
	}
	return append(in, last("")), false
}

// TestReplyProperty: for any list, any visibility and any cutting, the client
// gets the list without what is hidden, and the end as it came.
func TestReplyProperty(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	rapid.Check(t, func(rt *rapid.T) {
		in := drawReply(rt, drawItems(rt), "1")
		scopes := rapid.SampledFrom([]string{"weather:read", "weather:all"}).Draw(rt, "scopes")
		pieces, trailers := cutMessages(rt, in)
		got := treat(t, s, append(messages{start(about("scopes="+scopes), false, ok, asJSON)}, pieces...)...)
		if !got.headers || got.err != nil || got.trailers != trailers || got.ended == trailers {
			rt.Fatalf("got %+v", got)
		}
		if scopes == "weather:read" {
			checkFiltered(rt, in, got.body)
		} else if want := strings.Replace(in, `"public"`, `"private"`, 1); got.body != want {
			rt.Fatalf("a caller who sees everything: got\n%s\nwant\n%s", got.body, want)
		}
	})
}

// TestEventsProperty is the same for a reply among other events.
func TestEventsProperty(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	rapid.Check(t, func(rt *rapid.T) {
		own := drawReply(rt, drawItems(rt), "1")
		foreign := drawReply(rt, drawItems(rt), "2")
		end := rapid.SampledFrom([]string{"\n", "\r", "\r\n"}).Draw(rt, "line end")
		framed := func(data string) string {
			// A line end of the JSON is one of the data.
			return "id: 5" + end + "data:" + strings.ReplaceAll(data, "\n", end+"data:") + end + end
		}
		events := rapid.Permutation([]string{
			framed(own), framed(foreign), ":c" + end + end, framed(`{"method":"notifications/progress"}`), "id: 0" + end + "data:" + end + end,
		}).Draw(rt, "events")
		pieces, trailers := cutMessages(rt, strings.Join(events, ""))
		got := treat(t, s, append(messages{start(about(), false, ok, asEvents)}, pieces...)...)
		if !got.headers || got.err != nil || got.trailers != trailers || got.ended == trailers {
			rt.Fatalf("got %+v", got)
		}
		var replies []string
		for _, data := range readEvents(got.body) {
			if strings.Contains(data, `"result"`) {
				replies = append(replies, data)
			}
		}
		if len(replies) != 1 {
			rt.Fatalf("%d replies in %q", len(replies), got.body)
		}
		checkFiltered(rt, own, replies[0])
		if n := strings.Count(got.body, "id: 5\n"); n != 3 {
			rt.Fatalf("%d of 3 positions in %q", n, got.body)
		}
	})
}

// readEvents is a second reader of server-sent events, for what the server
// wrote: simple and slow.
func readEvents(stream string) (data []string) {
	stream = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(stream, "\uFEFF"))
	blocks := strings.Split(stream, "\n\n")
	for _, block := range blocks[:len(blocks)-1] {
		var lines []string
		for line := range strings.SplitSeq(block, "\n") {
			if rest, ok := strings.CutPrefix(line, "data:"); ok {
				lines = append(lines, strings.TrimPrefix(rest, " "))
			}
		}
		if joined := strings.Join(lines, "\n"); joined != "" {
			data = append(data, joined)
		}
	}
	return data
}

// FuzzEvents looks for streams in which a tool that the caller may not see
// reaches a client that is as generous as encoding/json.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("data: "+listed+"\n\n"), uint8(3))
	f.Add([]byte("\uFEFFid: 1\r\ndata: "+listed+"\r\n\r\n: c\rdata:\r\r"), uint8(1))
	f.Add([]byte("data: {\"id\":1,\ndata:\"result\":{\"tools\":[]}}\n\nevent: x\nretry: 1\n\n"), uint8(200))
	s := newServer(f, Config{MaxReplyBytes: 1 << 20})
	f.Fuzz(func(t *testing.T, stream []byte, size uint8) {
		in := messages{start(about(), false, ok, asEvents)}
		for rest := stream; len(rest) > 0; {
			n := min(len(rest), int(size)+1)
			in, rest = append(in, piece(string(rest[:n]))), rest[n:]
		}
		got := treat(t, s, append(in, last(""))...)
		if got.err == nil && !got.ended {
			t.Fatalf("neither ended nor cut: %+v", got)
		}
		if bytes.Contains([]byte(got.body), []byte("\r")) {
			t.Fatalf("CR in %q", got.body)
		}
		for _, data := range readEvents(got.body) {
			var m struct {
				Method *string
				Result struct {
					Tools   []any
					Prompts any
				}
			}
			if json.Unmarshal([]byte(data), &m) != nil || m.Method != nil {
				continue
			}
			if m.Result.Prompts != nil {
				t.Fatalf("prompts in %q", data)
			}
			for _, tool := range m.Result.Tools {
				o, _ := tool.(map[string]any)
				if name, _ := o["name"].(string); name != "get" && !strings.HasPrefix(name, "list_") && !strings.HasPrefix(name, "seen_") {
					t.Fatalf("hidden tool %q in %q", name, data)
				}
			}
		}
	})
}
