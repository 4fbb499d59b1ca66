package registry_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mcpgate/mcpgate/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The examples below are the ones of the documentation, valid together.

func exampleServer() *registry.Server {
	return &registry.Server{
		Name: "weather", Title: "Weather", Description: "Forecasts for any place.", Tags: []string{"public", "eu"},
		Upstream: registry.Upstream{
			URL:            "https://weather.internal:8443/api/mcp",
			TLS:            &registry.TLS{CAFile: "/etc/ca.pem", ServerName: "weather.internal"},
			Credential:     &registry.Credential{Header: "Authorization", Scheme: "Bearer", Secret: "env:WEATHER_TOKEN"},
			ConnectTimeout: registry.Duration(registry.DefaultConnectTimeout), IdleTimeout: registry.Duration(registry.DefaultIdleTimeout),
		},
		Access: registry.Access{Issuers: []string{"corp"}, BaselineScopes: []string{"weather:read"}},
	}
}

func exampleIssuer() *registry.Issuer {
	return &registry.Issuer{
		Name: "corp", Issuer: "https://idp.example.com/realms/corp", JWKSURI: "https://idp.example.com/realms/corp/jwks",
		Algorithms: []string{"RS256", "ES256", "EdDSA"}, TokenTypes: []string{"at+jwt", "JWT"},
		Claims: registry.Claims{
			Subject: []registry.ClaimPath{{"sub"}}, Client: []registry.ClaimPath{{"client_id"}, {"azp"}, {"cid"}},
			Scopes: []registry.ClaimPath{{"scope"}, {"scp"}}, Groups: []registry.ClaimPath{{"groups"}, {"realm_access", "roles"}, {"cognito:groups"}},
		},
	}
}

func exampleScope() *registry.Scope {
	return &registry.Scope{
		Name: "weather:read", Description: "Read forecasts.",
		Rules: []registry.Rule{{
			Servers: []string{"weather"}, Tools: []registry.Pattern{"get_forecast", "list_*"}, Prompts: []registry.Pattern{"*"},
			Resources: []registry.Pattern{"weather://*"}, Methods: []string{"logging/setLevel"},
		}},
	}
}

func exampleGroup() *registry.Group {
	return &registry.Group{Name: "/lob1/users", Issuer: "corp", Scopes: []string{"weather:read"}}
}

func exampleRevocation() *registry.Revocation {
	return &registry.Revocation{
		Name: "stolen-laptop", Issuer: "corp", Subject: "alice",
		IssuedBefore: registry.Time{Time: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)},
		Until:        registry.Time{Time: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)},
		Reason:       "INC-7",
	}
}

func examples() []registry.Resource {
	return []registry.Resource{exampleIssuer(), exampleServer(), exampleScope(), exampleGroup()}
}
