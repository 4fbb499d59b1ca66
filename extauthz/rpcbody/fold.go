package rpcbody

// foldsTo reports whether some reader can take name, which is not known
// itself, for known, which is ASCII. Such readers ignore case, by simple
// folding (encoding/json v1) or by lowering or raising it, or underscores and
// dashes: json/v2 when told to ignore case does both, and the Python MCP SDK
// accepts the snake_case names of its fields beside those of the wire, `meta`
// for `_meta` too. The test derives the letters beyond ASCII from the Unicode
// tables.
func foldsTo(name, known string) bool {
	k := 0
	for _, r := range name {
		switch {
		case r == '_' || r == '-':
			continue
		case 'A' <= r && r <= 'Z':
			r += 'a' - 'A'
		case r == '\u017F': // ſ, long s
			r = 's'
		case r == '\u212A': // K, Kelvin
			r = 'k'
		case r == '\u0130' || r == '\u0131': // İ and ı, with and without dot
			r = 'i'
		}
		if k < len(known) && known[k] == '_' {
			k++
		}
		if k == len(known) || r != lower(known[k]) {
			return false
		}
		k++
	}
	return k == len(known)
}

func lower(c byte) rune {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return rune(c)
}
