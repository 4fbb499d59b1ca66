package check

import (
	"errors"
	"strings"
	"testing"

	"github.com/mcpgate/mcpgate/registry"
)

func TestIsHeaderText(t *testing.T) {
	t.Parallel()
	for v, want := range map[string]bool{
		"alice": true, "a b": true, "josé": true, "用户": true, "a,b;c=\"d\"": true,
		"": false, " a": false, "a ": false, "a\t": false, "a\tb": false, "a\r\nx: y": false, "a\x00": false, "a\x7f": false,
		"é\x00": false, "é\u0085": false, "\xff": false, "a\xc3": false,
	} {
		if got := isHeaderText(v); got != want {
			t.Errorf("isHeaderText(%q) = %v", v, got)
		}
	}
}

func TestIsVisible(t *testing.T) {
	t.Parallel()
	for v, want := range map[string]bool{"abc-1.2": true, "": false, "a b": false, "a\n": false, "é": false, "\x7f": false} {
		if got := isVisible(v); got != want {
			t.Errorf("isVisible(%q) = %v", v, got)
		}
	}
}

func TestIsJSON(t *testing.T) {
	t.Parallel()
	for v, want := range map[string]bool{
		"application/json": true, "Application/JSON": true, "application/json;charset=utf-8": true,
		"application/json; charset=UTF-8": true, "application/json ; Charset=\"utf-8\"": true,
		"": false, "text/plain": false, "application/json,text/plain": false, "application/json,application/json": false,
		"application/json;charset=utf-16": false, "application/json;charset=utf-7": false, "application/json;charset=utf8": false,
		"application/json;": false, "application/json; charset=utf-8;": false, "application/json;charset=utf-8;charset=utf-7": false,
		"application/json;boundary=x": false, "application/json-rpc": false, "application/vnd.x+json": false, "application/ json": false,
	} {
		if got := isJSON(v); got != want {
			t.Errorf("isJSON(%q) = %v", v, got)
		}
	}
}

func TestBearer(t *testing.T) {
	t.Parallel()
	for v, want := range map[string]struct {
		token   string
		present bool
	}{
		"Bearer abc": {"abc", true}, "bearer abc": {"abc", true}, "BEARER   abc": {"abc", true}, "Bearer": {"", true},
		"Bearer a b": {"a b", true}, "Basic abc": {}, "": {}, "Bearerabc": {}, "DPoP abc": {}, "Bearer\tabc": {},
	} {
		if token, present := bearer(v); token != want.token || present != want.present {
			t.Errorf("bearer(%q) = %q, %v", v, token, present)
		}
	}
}

func TestHasQueryToken(t *testing.T) {
	t.Parallel()
	for v, want := range map[string]bool{
		"/weather/mcp": false, "/weather/mcp?": false, "/weather/mcp?a=access_token": false, "/weather/mcp?xaccess_token=1": false,
		"/weather/mcp?access_token=x": true, "/weather/mcp?a=b&access_token=x": true, "/weather/mcp?a=b;access_token": true,
		"/weather/mcp?%61ccess_token=x": true, "/weather/mcp?Access_Token=x": true, "/weather/mcp?%zz=1&access_token": true,
	} {
		if got := hasQueryToken(v); got != want {
			t.Errorf("hasQueryToken(%q) = %v", v, got)
		}
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	o := newOrigins([]string{"https://app.example", "http://localhost:*", "http://[::1]:*", "https://gw.example:8443"})
	for v, want := range map[string]bool{
		"https://app.example": true, "http://localhost": true, "http://localhost:3000": true, "http://[::1]:80": true, "http://[::1]": true,
		"https://gw.example:8443": true,
		"":                        false, "null": false, "https://app.example:443": false, "https://APP.example": false, "http://app.example": false,
		"https://app.example.evil": false, "http://localhost:3000.evil": false, "http://localhost:": false, "http://localhost:123456": false,
		"http://localhost.evil:80": false, "http://localhost:*": false, "https://gw.example": false, "http://evil:80": false,
	} {
		if got := o.allow(v); got != want {
			t.Errorf("allow(%q) = %v", v, got)
		}
	}
}

type secretFunc func(registry.SecretRef) (string, error)

func (f secretFunc) Resolve(r registry.SecretRef) (string, error) { return f(r) }

func TestCredential(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		c      registry.Credential
		secret string
		want   pair
	}{
		"default header":   {registry.Credential{Scheme: "Bearer"}, "s", pair{"authorization", "Bearer s"}},
		"own header":       {registry.Credential{Header: "X-API-Key"}, "s", pair{"x-api-key", "s"}},
		"cookie":           {registry.Credential{Header: "Cookie"}, "a=b", pair{"cookie", "a=b"}},
		"host":             {registry.Credential{Header: "Host"}, "s", pair{}},
		"framing":          {registry.Credential{Header: "Content-Length"}, "5", pair{}},
		"transfer":         {registry.Credential{Header: "transfer-encoding"}, "chunked", pair{}},
		"pseudo":           {registry.Credential{Header: ":path"}, "/x", pair{}},
		"identity":         {registry.Credential{Header: "X-Mcpgate-Subject"}, "root", pair{}},
		"session":          {registry.Credential{Header: "Mcp-Session-Id"}, "s", pair{}},
		"name with space":  {registry.Credential{Header: "a b"}, "s", pair{}},
		"control in value": {registry.Credential{}, "a\r\nb", pair{}},
		"blank at the end": {registry.Credential{}, "a ", pair{}},
		"scheme injection": {registry.Credential{Scheme: "a\nb"}, "s", pair{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &Server{secrets: secretFunc(func(registry.SecretRef) (string, error) { return tt.secret, nil })}
			got, err := s.credential(&tt.c)
			if got != tt.want || (err == nil) != (tt.want != pair{}) {
				t.Errorf("credential = %q, %v; want %q", got, err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), tt.secret) && len(tt.secret) > 2 {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
	s := &Server{secrets: secretFunc(func(registry.SecretRef) (string, error) { return "", errors.New("gone") })}
	if _, err := s.credential(&registry.Credential{}); err == nil {
		t.Error("an unresolvable secret is not an error")
	}
}
