package extauthz

import "strings"

// Versions is a set of MCP revisions.
type Versions uint8

// The revisions of MCP. Modern ones carry their version in every message and
// have no handshake and no session.
const (
	V20241105 Versions = 1 << iota
	V20250326
	V20250618
	V20251125
	V20260728

	Legacy = V20241105 | V20250326 | V20250618 | V20251125
	Modern = V20260728
)

// versionNames is sorted from old to new, in the order of the bits.
var versionNames = [...]string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"}

// ParseVersion reads a protocol version; ok is false for an unknown one.
func ParseVersion(s string) (v Versions, ok bool) {
	for i, name := range versionNames {
		if s == name {
			return 1 << i, true
		}
	}
	return 0, false
}

// String lists the versions, newest first, separated by spaces.
func (v Versions) String() string { return strings.Join(v.Names(), " ") }

// Names lists the versions, newest first.
func (v Versions) Names() []string {
	var names []string
	for i := len(versionNames) - 1; i >= 0; i-- {
		if v&(1<<i) != 0 {
			names = append(names, versionNames[i])
		}
	}
	return names
}
