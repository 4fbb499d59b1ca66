package demo

import (
	_ "embed"
	"strings"
)

//go:embed registry.yaml
var registryYAML string

// Registry is the demonstration's registry, as documents: the server URLs are
// origins, external is the gateway's own URL.
func Registry(issuer, external, weatherURL, notesURL string) []byte {
	return []byte(strings.NewReplacer(
		"ISSUER", issuer, "EXTERNAL", external, "WEATHER", weatherURL, "NOTES", notesURL,
	).Replace(registryYAML))
}
