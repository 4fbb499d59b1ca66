package rpcbody

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// genTree writes an object with many members, most of them with new names,
// and reports whether one of the objects in it has a name twice.
func genTree(t *rapid.T, b *strings.Builder, depth int) (duplicate bool) {
	seen := map[string]bool{}
	size := rapid.SampledFrom([]int{0, 1, 2, linearNames - 1, linearNames, linearNames + 1, 3 * linearNames, 300}).Draw(t, "size")
	prefix := rapid.SampledFrom([]string{"", "n", "a long common prefix of "}).Draw(t, "prefix")
	b.WriteByte('{')
	for i := range size {
		name := prefix + strconv.Itoa(i)
		if rapid.IntRange(0, 999).Draw(t, "again") == 0 {
			name = prefix + strconv.Itoa(rapid.IntRange(0, i).Draw(t, "which"))
		}
		duplicate = duplicate || seen[name]
		seen[name] = true
		if i > 0 {
			b.WriteByte(',')
		}
		// Any name may be written with an escape.
		if last := len(name) - 1; rapid.IntRange(0, 3).Draw(t, "escape") == 0 {
			fmt.Fprintf(b, `"%s\u%04x":`, name[:last], name[last])
		} else {
			fmt.Fprintf(b, `"%s":`, name)
		}
		if depth > 0 && rapid.IntRange(0, 9).Draw(t, "nest") == 0 {
			duplicate = genTree(t, b, depth-1) || duplicate
		} else {
			b.WriteByte('0')
		}
	}
	b.WriteByte('}')
	return duplicate
}

// TestDuplicatesOfAnySize compares the stack of names with a map, in large
// objects inside large ones. The scanners, and what they remember, are shared
// by all the messages.
func TestDuplicatesOfAnySize(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		duplicate := genTree(t, &b, 2)
		var m Message
		err := Read([]byte(arguments(b.String())), &m)
		var e *Error
		switch {
		case !duplicate && err != nil:
			t.Errorf("no name comes twice, but: %v", err)
		case duplicate && (!errors.As(err, &e) || e.Rule != RuleDuplicate):
			t.Errorf("a name comes twice, but: %v", err)
		}
	})
}

// members writes n members with different names, starting from the number
// first.
func members(first, n int, value string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%x":%s`, first+i, value)
	}
	return b.String()
}

// hostile are bodies of about a mebibyte that are the worst for one part of the
// reader each.
var hostile = []struct {
	name, arguments string
}{
	{"members", "{" + members(0, 100_000, "0") + "}"},
	// Small tables that come and go inside a large one, with the same names.
	{"objects-in-members", "{" + members(0, 20_000, "0") + "," + members(20_000, 5_000, "{"+members(0, linearNames+1, "0")+"}") + "}"},
	{"linear-names", "[" + strings.Repeat("{"+members(0x1000, linearNames, "0")+"},", 5_000) + "0]"},
	{"long-names", "[" + strings.Repeat(longNames()+",", 100) + "0]"},
	{"escaped-names", "{" + strings.ReplaceAll(members(0x1000000, 70_000, "0"), `"1`, `"\u0031`) + "}"},
	{"escapes", `"` + strings.Repeat(`\n`, 500_000) + `"`},
	{"quotes", `"` + strings.Repeat(`\"a`, 300_000) + `"`},
	{"surrogates", `"` + strings.Repeat(`\ud83d\ude00`, 85_000) + `"`},
	{"runes", `"` + strings.Repeat("世界", 170_000) + `"`},
	{"space", "[" + strings.Repeat("1, \n\t", 200_000) + "1]"},
	{"numbers", "[" + strings.Repeat("1.25e-7,", 125_000) + "1]"},
	{"depth", "[" + strings.Repeat(nested("[", "]", MaxDepth-3)+",", 8_000) + "0]"},
}

// longNames is an object whose names differ in the middle only.
func longNames() string {
	var all []string
	for i := range linearNames {
		all = append(all, fmt.Sprintf(`"%s%x%s":0`, strings.Repeat("a", 300), i, strings.Repeat("b", 300)))
	}
	return "{" + strings.Join(all, ",") + "}"
}

func TestHostileBodiesAreRead(t *testing.T) {
	t.Parallel()
	for _, test := range hostile {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var m Message
			if err := Read([]byte(arguments(test.arguments)), &m); err != nil {
				t.Error(err)
			}
		})
	}
}

func BenchmarkReadHostile(b *testing.B) {
	for _, test := range hostile {
		b.Run(test.name, func(b *testing.B) {
			body := []byte(arguments(test.arguments))
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			var m Message
			for b.Loop() {
				if err := Read(body, &m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
