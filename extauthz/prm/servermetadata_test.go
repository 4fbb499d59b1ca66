package prm_test

import (
	"context"
	"errors"
	"testing"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/prm"
	"github.com/mcpgate/mcpgate/registry"
)

// documents are metadata by issuer; a missing one is an error.
type documents map[string]string

func (d documents) Get(_ context.Context, issuer string) ([]byte, error) {
	if doc, ok := d[issuer]; ok {
		return []byte(doc), nil
	}
	return nil, errors.New("unreachable")
}

func TestServerMetadataIsThatOfTheOnlyIssuer(t *testing.T) {
	t.Parallel()
	const document = `{"issuer":"https://a.example","jwks_uri":"https://a.example/jwks"}`
	one := &registry.Issuer{Name: "a", Issuer: "https://a.example"}
	two := &registry.Issuer{Name: "b", Issuer: "https://b.example"}
	known := documents{one.Issuer: document}
	for name, c := range map[string]struct {
		resources []registry.Resource
		metadata  prm.Metadata
		want      int
	}{
		"one issuer":       {[]registry.Resource{one}, known, 200},
		"no issuer":        {nil, known, 404},
		"two issuers":      {[]registry.Resource{one, two}, known, 404},
		"unreachable":      {[]registry.Resource{two}, known, 404},
		"without metadata": {[]registry.Resource{one}, nil, 404},
	} {
		p := extauthz.NewPolicies(extauthz.Config{ExternalURL: origin})
		p.Load(registry.Snapshot{Revision: 1, Resources: c.resources})
		h := prm.New(p, c.metadata)
		for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
			w := serve(t, h, "GET", path)
			if w.Code != c.want || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("%s: GET %s: %d %s, want %d in JSON", name, path, w.Code, w.Header().Get("Content-Type"), c.want)
			}
			if c.want == 200 && w.Body.String() != document {
				t.Errorf("%s: GET %s: %s, want the issuer's own bytes", name, path, w.Body)
			}
			if w := serve(t, h, "GET", path+"/weather/mcp"); w.Code != 404 {
				t.Errorf("%s: GET %s/weather/mcp: %d, want 404", name, path, w.Code)
			}
		}
	}
}
