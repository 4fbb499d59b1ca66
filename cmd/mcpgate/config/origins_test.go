package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/config"
)

func TestLoopbackOriginsAreAllowedOnALoopbackListenerOnly(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text string
		want []string
	}{
		{"", []string{
			"http://127.0.0.1:8080",
			"http://localhost:*", "https://localhost:*", "http://127.0.0.1:*", "https://127.0.0.1:*", "http://[::1]:*", "https://[::1]:*",
		}},
		{
			"externalURL: https://mcp.example.com\ngateway: {listen: 0.0.0.0:8443, tls: {certFile: /c.pem, keyFile: /k.pem}}",
			[]string{"https://mcp.example.com"},
		},
		{"gateway: {allowedOrigins: ['https://app.example']}", []string{"https://app.example"}},
	} {
		c, err := config.Parse([]byte(test.text))
		if err != nil {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		if got := c.Gateway.AllowedOrigins; !slices.Equal(got, test.want) {
			t.Errorf("%q: origins %q, want %q", test.text, got, test.want)
		}
	}
}

func TestOriginsMayLeaveOnlyThePortOpen(t *testing.T) {
	t.Parallel()
	for origin, ok := range map[string]bool{
		"https://app.example": true, "https://app.example:8443": true, "http://localhost:*": true, "http://[::1]:*": true,
		"*": false, "https://*": false, "https://*.example": false, "https://app.example:80:*": false, "https://app.example/": false, "app.example": false, "https://": false,
	} {
		_, err := config.Parse([]byte("gateway: {allowedOrigins: ['" + origin + "']}"))
		if ok != (err == nil) {
			t.Errorf("%q: %v", origin, err)
		}
		if err != nil && !strings.Contains(err.Error(), "gateway.allowedOrigins[0]") {
			t.Errorf("%q: the error does not name the field: %v", origin, err)
		}
	}
}
