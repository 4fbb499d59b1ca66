package rpcbody

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"
)

// suiteCase is one file of JSONTestSuite.
type suiteCase struct{ name, json string }

// suite returns the files of JSONTestSuite; see testdata/README.md.
func suite(tb testing.TB) []suiteCase {
	tb.Helper()
	f, err := os.Open("testdata/jsontestsuite.txt")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	cases := []suiteCase{
		{"n_structure_100000_opening_arrays", strings.Repeat("[", 100_000)},
		{"n_structure_open_array_object", strings.Repeat(`[{"":`, 50_000) + "\n"},
	}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, quoted, _ := strings.Cut(lines.Text(), " ")
		json, err := strconv.Unquote(quoted)
		if err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
		cases = append(cases, suiteCase{name, json})
	}
	if len(cases) != 318 {
		tb.Fatalf("read %d files, want 318", len(cases))
	}
	return cases
}

// suiteRefused are the files whose name does not begin with n_ that are
// refused, with the rule: well-formed JSON that readers disagree about, and
// what the suite leaves to the implementation. Every other i_ is accepted.
var suiteRefused = map[string]string{
	"y_object_duplicated_key":           RuleDuplicate,
	"y_object_duplicated_key_and_value": RuleDuplicate,

	"i_object_key_lone_2nd_surrogate":                RuleSurrogate,
	"i_string_1st_surrogate_but_2nd_missing":         RuleSurrogate,
	"i_string_1st_valid_surrogate_2nd_invalid":       RuleSurrogate,
	"i_string_incomplete_surrogate_and_escape_valid": RuleSurrogate,
	"i_string_incomplete_surrogate_pair":             RuleSurrogate,
	"i_string_incomplete_surrogates_escape_valid":    RuleSurrogate,
	"i_string_invalid_lonely_surrogate":              RuleSurrogate,
	"i_string_invalid_surrogate":                     RuleSurrogate,
	"i_string_inverted_surrogates_U+1D11E":           RuleSurrogate,
	"i_string_lone_second_surrogate":                 RuleSurrogate,

	"i_string_UTF-16LE_with_BOM":              RuleUTF8,
	"i_string_UTF-8_invalid_sequence":         RuleUTF8,
	"i_string_UTF8_surrogate_U+D800":          RuleUTF8,
	"i_string_invalid_utf-8":                  RuleUTF8,
	"i_string_iso_latin_1":                    RuleUTF8,
	"i_string_lone_utf8_continuation_byte":    RuleUTF8,
	"i_string_not_in_unicode_range":           RuleUTF8,
	"i_string_overlong_sequence_2_bytes":      RuleUTF8,
	"i_string_overlong_sequence_6_bytes":      RuleUTF8,
	"i_string_overlong_sequence_6_bytes_null": RuleUTF8,
	"i_string_truncated-utf-8":                RuleUTF8,
	"i_string_utf16BE_no_BOM":                 RuleSyntax,
	"i_string_utf16LE_no_BOM":                 RuleSyntax,
	"i_structure_UTF-8_BOM_empty_object":      RuleSyntax,
	"i_structure_500_nested_arrays":           RuleDepth,
}

func TestJSONTestSuite(t *testing.T) {
	t.Parallel()
	for _, c := range suite(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var m Message
			err := Read([]byte(arguments(c.json)), &m)
			rule, refused := suiteRefused[c.name]
			refused = refused || strings.HasPrefix(c.name, "n_")
			switch e, _ := err.(*Error); { //nolint:errorlint // Read documents the type
			case refused && e == nil:
				t.Errorf("accepted as arguments: %.80q", c.json)
			case !refused && e != nil:
				t.Errorf("refused as arguments: %v: %.80q", e, c.json)
			case rule != "" && e.Rule != rule:
				t.Errorf("refused as arguments by %s, want %s", e.Rule, rule)
			}
			// None of the files is a message.
			if err := Read([]byte(c.json), &m); err == nil {
				t.Errorf("accepted as a body: %.80q", c.json)
			}
		})
	}
}
