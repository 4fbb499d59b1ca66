package rpcbody

import (
	"testing"
	"unicode"
)

// TestFoldsCoverUnicode finds every character that a reader could take for an
// ASCII one by folding, lowering or raising its case.
func TestFoldsCoverUnicode(t *testing.T) {
	t.Parallel()
	for r := rune(0); r <= unicode.MaxRune; r++ {
		similar := []rune{unicode.ToLower(r), unicode.ToUpper(r), unicode.ToTitle(r), unicode.ToLower(unicode.ToUpper(r)), unicode.ToUpper(unicode.ToLower(r))}
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			similar = append(similar, f)
		}
		for _, f := range similar {
			if f >= 0x80 || f == r {
				continue
			}
			if !foldsTo(string(r), string(f)) {
				t.Errorf("%U folds to %q", r, f)
			}
		}
	}
	for _, name := range []string{"nam", "names", "na me", "näme", "ｎame", "nаme", "", "_", "n_am"} {
		if foldsTo(name, "name") {
			t.Errorf("%q does not fold to name", name)
		}
	}
}
