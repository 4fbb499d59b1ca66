package listfilter

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// scan reads one whole text.
func scan(data []byte) error {
	if !utf8.Valid(data) {
		return reasonSyntax
	}
	s := scanner{data: data}
	if err := s.value(0); err != nil {
		return err
	}
	return s.end()
}

// texts are JSON texts and near misses.
var texts = []string{
	`{}`, `[]`, `""`, `0`, `-0`, `true`, `false`, `null`, ` {"a" : [ 1 , 2.5e-3 ] } `,
	`{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}`,
	`"\u00e9\ud83d\ude00\"\\\/\b\f\n\r\t"`, `"é😀"`, `1E+2`, `-1.0e0`,
	``, ` `, `{`, `}`, `[1,]`, `[,1]`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `{a:1}`, `{'a':1}`, `[1 2]`, `{"a":1 "b":2}`,
	`01`, `+1`, `.5`, `1.`, `1e`, `1e+`, `-`, `--1`, `0x1`, `NaN`, `Infinity`, `tru`, `nul`, `True`, `truefalse`,
	`"`, `"\"`, `"\x"`, `"\u12"`, `"\u12g4"`, `"\ud800"`, `"\udc00"`, `"\ud800\u0041"`, `"\ud800\ud800"`, "\"\x00\"", "\"\n\"", "\"\t\"", "\"\x1f\"", "\"\x7f\"",
	"\"\xff\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\uFEFF{}", `{}{}`, `{} x`, `/**/{}`, `{"a":1}//`,
	`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"é":1,"\u00e9":2}`, `{"x":{"a":1,"a":2}}`, `[{"a":1,"b":2,"a":3}]`,
	`{"01234567":1,"012345678":2,"0123456\u00377":3}`, "\"\u2028\u2029\"",
}

// TestScannerAgreesWithJSONText holds the scanner against jsontext, which
// refuses the same things by default.
func TestScannerAgreesWithJSONText(t *testing.T) {
	t.Parallel()
	for _, text := range texts {
		got, want := scan([]byte(text)) == nil, jsontext.Value(text).IsValid()
		if got != want {
			t.Errorf("%q: accepted is %v, jsontext says %v", text, got, want)
		}
	}
}

func TestScannerRefusesDuplicatesInLargeObjects(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, linearNames - 1, linearNames, linearNames + 1, 100} {
		var b strings.Builder
		b.WriteByte('{')
		for i := range n {
			fmt.Fprintf(&b, `"name%d":%d,`, i, i)
		}
		for _, tc := range []struct {
			last string
			want error
		}{
			{`"name0":0}`, reasonDuplicate},
			{`"\u006eame0":0}`, reasonDuplicate},
			{fmt.Sprintf(`"name%d":0}`, n-1), reasonDuplicate},
			{`"Name0":0}`, nil},
		} {
			if err := scan([]byte(b.String() + tc.last)); !errors.Is(err, tc.want) {
				t.Errorf("%d names, then %s: %v, want %v", n, tc.last, err, tc.want)
			}
		}
	}
}

func TestScannerLimits(t *testing.T) {
	t.Parallel()
	nested := func(open, shut string, n int) []byte {
		return []byte(strings.Repeat(open, n) + "1" + strings.Repeat(shut, n))
	}
	object := func(n int) []byte {
		b := []byte{'{'}
		for i := range n {
			b = fmt.Appendf(b, `"%d":0,`, i)
		}
		b[len(b)-1] = '}'
		return b
	}
	for name, tc := range map[string]struct {
		data []byte
		want error
	}{
		"arrays at the limit":     {nested("[", "]", maxDepth), nil},
		"arrays above":            {nested("[", "]", maxDepth+1), reasonDepth},
		"objects at the limit":    {nested(`{"a":`, "}", maxDepth), nil},
		"objects above":           {nested(`{"a":`, "}", maxDepth+1), reasonDepth},
		"a million open brackets": {bytes.Repeat([]byte("["), 1<<20), reasonDepth},
		"names at the limit":      {object(maxNames), nil},
		"names above":             {object(maxNames + 1), reasonNames},
	} {
		if err := scan(tc.data); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

func FuzzScanner(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := scan(data)
		if errors.Is(err, reasonDepth) || errors.Is(err, reasonNames) {
			return
		}
		if got, want := err == nil, jsontext.Value(data).IsValid(); got != want {
			t.Fatalf("%q: accepted is %v, jsontext says %v", data, got, want)
		}
	})
}
