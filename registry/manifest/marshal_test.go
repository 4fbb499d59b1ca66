package manifest_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/manifest"
	"github.com/mcpgate/mcpgate/registry/registrytest"
)

func TestMarshalIsReadable(t *testing.T) {
	t.Parallel()
	got, err := manifest.Marshal(documentedResources(), false)
	if err != nil {
		t.Fatal(err)
	}
	want := `kind: Server
name: weather
title: Weather
description: Forecasts for any place.
tags: [public, eu]
enabled: true
upstream:
  url: https://weather.internal:8443/api/mcp
  tls:
    caFile: /etc/ca.pem
    serverName: weather.internal
  credential:
    header: Authorization
    scheme: Bearer
    secret: env:WEATHER_TOKEN
  connectTimeout: 5s
  idleTimeout: 1h0m0s
access:
  issuers: [corp]
  baselineScopes: ['weather:read']
---
kind: Issuer
name: corp
issuer: https://idp.example.com/realms/corp
algorithms: [RS256, ES256, EdDSA]
claims:
  subject:
  - [sub]
  groups:
  - [groups]
  - [realm_access, roles]
  - ['cognito:groups']
keys:
  refresh: 5m0s
  maxStale: 1h0m0s
---
kind: Scope
name: weather:read
rules:
- servers: [weather]
  tools: [get_forecast, list_*]
  prompts: ['*']
  resources: ['weather://*']
  methods: [logging/setLevel]
---
kind: Group
name: /lob1/users
issuer: corp
scopes: ['weather:read']
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestMarshalMetadata(t *testing.T) {
	t.Parallel()
	g := &registry.Group{Name: "g", Metadata: registry.Metadata{Revision: 7, CreatedAt: time.Unix(0, 0).UTC(), UpdatedAt: time.Unix(1, 0).UTC()}}
	got, err := manifest.Marshal([]registry.Resource{g}, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"metadata:\n  revision: 7\n", "createdAt: "} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	back, err := manifest.Parse("x", got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]registry.Resource{&registry.Group{Name: "g"}}, back); diff != "" {
		t.Errorf("metadata is not ignored (-want +got)\n%s", diff)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		one := registrytest.Resources(registry.Kinds()...)
		want := rapid.SliceOfNDistinct(one, 1, 4, registry.Resource.Key).Draw(t, "resources")
		text, err := manifest.Marshal(want, rapid.Bool().Draw(t, "metadata"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := manifest.Parse("x", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got)\n%s\n%s", diff, text)
		}
	})
}

// A field of a type that the reader does not know would be a trap for whoever
// adds it.
func TestEveryFieldCanBeRead(t *testing.T) {
	t.Parallel()
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		switch {
		case typ == reflect.TypeFor[registry.Metadata](), typ == reflect.TypeFor[registry.Duration](), typ == reflect.TypeFor[registry.Time]():
			return
		}
		switch typ.Kind() {
		case reflect.Struct:
			for f := range typ.Fields() {
				if f.Tag.Get("json") == "" {
					t.Errorf("%s.%s has no json tag", path, f.Name)
				}
				walk(path+"."+f.Name, f.Type)
			}
		case reflect.Pointer, reflect.Slice:
			walk(path, typ.Elem())
		case reflect.String, reflect.Bool, reflect.Int, reflect.Int32, reflect.Int64:
		default:
			t.Errorf("%s: the type %s cannot be read", path, typ)
		}
	}
	for _, k := range registry.Kinds() {
		r, err := registry.New(k)
		if err != nil {
			t.Fatal(err)
		}
		walk(string(k), reflect.TypeOf(r).Elem())
	}
}
