package token

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/manifest"
)

var update = flag.Bool("update", false, "write the Issuers of the shapes into docs/issuers.md")

// document shows the Issuer of each shape that is meant as an example, after a
// line "<!-- shape: FILE as NAME -->".
const document = "../../docs/issuers.md"

var example = regexp.MustCompile("(?s)(<!-- shape: ([a-z0-9-]+) as ([a-z0-9-]+) -->\n)```yaml\n(.*?)```\n")

// TestIssuersDocument: every Issuer of docs/issuers.md is the one that reads
// the token of that shape in TestShapes.
func TestIssuersDocument(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	text := example.ReplaceAllStringFunc(string(data), func(block string) string {
		m := example.FindStringSubmatch(block)
		file := m[2]
		shown[file] = true
		s := readShape(t, filepath.Join("testdata", "shapes", file+".json"))
		if s.Refused != "" {
			t.Errorf("%s: an example whose token is refused", file)
		}
		issuer := s.Issuer
		issuer.Name = m[3]
		want, err := manifest.Marshal([]registry.Resource{&issuer}, false)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			return m[1] + "```yaml\n" + string(want) + "```\n"
		}
		got, err := manifest.Parse(file, []byte(m[4]))
		if err != nil || len(got) != 1 {
			t.Fatalf("%s: %d resources, %v", file, len(got), err)
		}
		if diff := cmp.Diff(registry.Resource(&issuer), got[0]); diff != "" {
			t.Errorf("%s: the Issuer of the shape against that of the document (-want +got)\n%s", file, diff)
		}
		return block
	})
	if *update {
		if err := os.WriteFile(document, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{
		"rfc9068", "entra-v1", "entra-v2-delegated", "okta-custom", "auth0", "auth0-rfc9068", "cognito-resource-binding", "cognito-client-audience",
		"keycloak", "keycloak-introspection", "oidc-provider-opaque",
	} {
		if !shown[file] {
			t.Errorf("%s is not shown", file)
		}
	}
	if n := strings.Count(text, "<!-- shape:"); n != len(shown) {
		t.Error(fmt.Sprint(n, " marks, but ", len(shown), " examples"))
	}
}
