package extauthz

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestDecodeMirrored(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                        "",
		"plain":                   "plain",
		"=?base64??=":             "",
		"=?base64?w6k=?=":         "é",
		"=?base64?Z2V0?=":         "get",
		"=?BASE64?Z2V0?=":         "=?BASE64?Z2V0?=",
		"=?base64?Z2V0":           "=?base64?Z2V0",
		" =?base64?Z2V0?=":        " =?base64?Z2V0?=",
		"=?base64?PT9iYXNlNjQ/?=": "=?base64?",
	} {
		if got, ok := decodeMirrored(in); !ok || got != want {
			t.Errorf("%q: %q, %v, want %q", in, got, ok, want)
		}
	}
	for _, in := range []string{
		"=?base64?Z2V?=", "=?base64?Z2V0=?=", "=?base64?Z2V1\n?=", "=?base64?Z2 V0?=", "=?base64?Z2V-?=",
		"=?base64?/w==?=", "=?base64?w6l=?=", "=?base64?Z2V0?=?=",
	} {
		if got, ok := decodeMirrored(in); ok {
			t.Errorf("%q: %q, want a refusal", in, got)
		}
	}
}

func FuzzDecodeMirrored(f *testing.F) {
	f.Add("=?base64?Z2V0?=")
	f.Add("plain")
	f.Fuzz(func(t *testing.T, in string) {
		got, ok := decodeMirrored(in)
		switch {
		case !ok || got == in:
		case encodedStart+base64.StdEncoding.EncodeToString([]byte(got))+encodedEnd != in:
			t.Errorf("%q is not the one encoding of %q", in, got)
		}
		if !strings.HasPrefix(in, encodedStart) && got != in {
			t.Errorf("%q became %q", in, got)
		}
	})
}
