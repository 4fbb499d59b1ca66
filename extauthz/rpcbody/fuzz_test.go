package rpcbody

import (
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// genBody makes messages that are valid for the most part: known members and
// names close to them, in any order, with escapes and white space anywhere,
// and now and then a byte changed.
func genBody() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		body := genMessage(t)
		if rapid.IntRange(0, 5).Draw(t, "mutate") > 0 {
			return body
		}
		at := rapid.IntRange(0, len(body)-1).Draw(t, "at")
		switch rapid.IntRange(0, 3).Draw(t, "how") {
		case 0:
			return append(body[:at:at], body[at+1:]...)
		case 1:
			return body[:at]
		case 2:
			end := rapid.IntRange(at, len(body)).Draw(t, "end")
			return append(body[:end:end], body[at:]...)
		}
		body[at] = rapid.Byte().Draw(t, "byte")
		return body
	})
}

func genMessage(t *rapid.T) []byte {
	members := []string{`"2.0"`, genID(t), genString(t, "method", "ping", "tools/list", "tools/call", "a\tb"), genParams(t)}
	names := []string{"jsonrpc", "id", "method", "params"}
	if rapid.IntRange(0, 9).Draw(t, "response") == 0 {
		names[2], members[2] = "result", "{}"
		if rapid.Bool().Draw(t, "error") {
			names[2] = "error"
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "drop") == 0 {
		drop := rapid.IntRange(0, 3).Draw(t, "which")
		names, members = append(names[:drop:drop], names[drop+1:]...), append(members[:drop:drop], members[drop+1:]...)
	}
	for range rapid.IntRange(0, 2).Draw(t, "more") {
		names, members = append(names, genName(t, "meta", "id ", "Result", "x")), append(members, genValue(t, 2))
	}
	return []byte(genObject(t, names, members))
}

func genParams(t *rapid.T) string {
	var names, members []string
	for _, n := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{
		"name", "uri", "taskId", "task", "protocolVersion", "ref", "_meta", "notifications", "arguments", "cursor", "level", "Name", "urI", "taſkId", "name ", "__proto__", "params", "constructor",
	}), 0, 6, rapid.ID[string]).Draw(t, "params") {
		names = append(names, n)
		text := func() string { return genString(t, "a", "get_forecast", "é", "", "\u2028", "a b", "name") }
		switch n {
		case "ref":
			members = append(members, genObject(t, []string{"type", "name", "uri"}, []string{text(), text(), text()}))
		case "_meta":
			members = append(members, genObject(t, []string{genName(t, metaVersion, metaVersion, "io", "progressToken"), "x"}, []string{text(), genValue(t, 1)}))
		case "notifications":
			members = append(members, genObject(t, []string{"resourceSubscriptions", "taskIds"}, []string{"[" + text() + "," + text() + "]", "[" + text() + "]"}))
		case "arguments", "task":
			members = append(members, genValue(t, 4))
		default:
			members = append(members, text())
		}
	}
	return genObject(t, names, members)
}

func genObject(t *rapid.T, names, members []string) string {
	order := make([]int, len(names))
	for i := range order {
		order[i] = i
	}
	var b strings.Builder
	b.WriteString("{" + genSpace(t))
	for n, i := range rapid.Permutation(order).Draw(t, "order") {
		if n > 0 {
			b.WriteString("," + genSpace(t))
		}
		b.WriteString(genQuoted(t, names[i]) + genSpace(t) + ":" + genSpace(t) + members[i] + genSpace(t))
	}
	b.WriteString("}")
	return b.String()
}

func genSpace(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", "", "", "", " ", "\n\t", "\r"}).Draw(t, "space")
}

func genID(t *rapid.T) string {
	switch rapid.IntRange(0, 9).Draw(t, "id kind") {
	case 0:
		return rapid.SampledFrom([]string{"null", "1.0", "-0", "true", "1e2", "9007199254740993"}).Draw(t, "bad id")
	case 1, 2, 3:
		return genString(t, "a", "1", "", "é\n")
	}
	return strconv.FormatInt(rapid.Int64Range(-maxInteger, maxInteger).Draw(t, "id"), 10)
}

func genName(t *rapid.T, of ...string) string { return rapid.SampledFrom(of).Draw(t, "name") }

// genString makes a string, of the given ones for the most part.
func genString(t *rapid.T, of ...string) string {
	if rapid.IntRange(0, 5).Draw(t, "odd") == 0 {
		return genQuoted(t, rapid.String().Draw(t, "text"))
	}
	return genQuoted(t, rapid.SampledFrom(of).Draw(t, "text"))
}

// genQuoted encodes a string with escapes where they must and may be.
func genQuoted(t *rapid.T, text string) string {
	escape := rapid.IntRange(0, 9).Draw(t, "escape") == 0
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r < ' ' || r == '"' || r == '\\' || escape && r < 0x10000 && rapid.Bool().Draw(t, "this one"):
			digits := strconv.FormatInt(int64(r), 16)
			if rapid.Bool().Draw(t, "upper") {
				digits = strings.ToUpper(digits)
			}
			b.WriteString(`\u` + "0000"[len(digits):] + digits)
		case escape && r == '/':
			b.WriteString(`\/`)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func genValue(t *rapid.T, depth int) string {
	kind := rapid.IntRange(0, 5).Draw(t, "value")
	if depth == 0 {
		kind %= 4
	}
	switch kind {
	case 0:
		return genString(t, "name", "params", `{"name":"b"}`, `\`, `"`)
	case 1, 2:
		return rapid.SampledFrom([]string{"null", "true", "false", "0", "-1.5e+3", "1E400", "123456789012345678901234567890"}).Draw(t, "scalar")
	case 3:
		return rapid.SampledFrom([]string{"[]", "{}", "[[]]", `{"":{}}`}).Draw(t, "empty")
	case 4:
		return "[" + genValue(t, depth-1) + "," + genValue(t, depth-1) + "]"
	}
	return genObject(t, []string{"name", "Name", "params", genName(t, "name\x00", "method", "__proto__", "😀")}, []string{genValue(t, depth-1), genValue(t, depth-1), genValue(t, 0), genValue(t, 0)})
}

// TestReadersAgree is the property that authorisation rests on: what we accept,
// every other reader takes for the same method and target.
func TestReadersAgree(t *testing.T) {
	t.Parallel()
	for _, body := range corpus(t) {
		agree(t, body)
	}
	t.Run("generated", rapid.MakeCheck(func(rt *rapid.T) {
		body := genBody().Draw(rt, "body")
		agree(t, body)
	}))
}

func FuzzRead(f *testing.F) {
	for _, body := range corpus(f) {
		if len(body) < 4<<10 {
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		agree(t, body)
	})
}
