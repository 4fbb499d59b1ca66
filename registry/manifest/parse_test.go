package manifest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/manifest"
)

const documented = `kind: Server
name: weather                          # public URL: <externalURL>/weather/mcp
title: Weather
description: Forecasts for any place.
tags: [public, eu]
enabled: true
upstream:
  url: https://weather.internal:8443/api/mcp
  tls: {caFile: /etc/ca.pem, serverName: weather.internal}
  credential: {header: Authorization, scheme: Bearer, secret: env:WEATHER_TOKEN}
  forwardClientToken: false
  connectTimeout: 5s
  idleTimeout: 1h
access:
  issuers: [corp]
  audiences: []
  baselineScopes: [weather:read]
---
kind: Issuer
name: corp
issuer: https://idp.example.com/realms/corp
algorithms: [RS256, ES256, EdDSA]
claims:
  subject: [[sub]]
  groups: [[groups], [realm_access, roles], ["cognito:groups"]]
keys: {refresh: 5m, maxStale: 1h}
---
kind: Scope
name: weather:read
includes: []
rules:
  - servers: [weather]
    tools: [get_forecast, "list_*"]
    prompts: ["*"]
    resources: ["weather://*"]
    methods: [logging/setLevel]
---
kind: Group
name: /lob1/users
issuer: corp
scopes: [weather:read]
`

func documentedResources() []registry.Resource {
	yes := true
	return []registry.Resource{
		&registry.Server{
			Name: "weather", Title: "Weather", Description: "Forecasts for any place.", Tags: []string{"public", "eu"}, Enabled: &yes,
			Upstream: registry.Upstream{
				URL: "https://weather.internal:8443/api/mcp", TLS: &registry.TLS{CAFile: "/etc/ca.pem", ServerName: "weather.internal"},
				Credential:     &registry.Credential{Header: "Authorization", Scheme: "Bearer", Secret: "env:WEATHER_TOKEN"},
				ConnectTimeout: registry.Duration(5 * time.Second), IdleTimeout: registry.Duration(time.Hour),
			},
			Access: registry.Access{Issuers: []string{"corp"}, BaselineScopes: []string{"weather:read"}},
		},
		&registry.Issuer{
			Name: "corp", Issuer: "https://idp.example.com/realms/corp", Algorithms: []string{"RS256", "ES256", "EdDSA"},
			Claims: registry.Claims{Subject: []registry.ClaimPath{{"sub"}}, Groups: []registry.ClaimPath{{"groups"}, {"realm_access", "roles"}, {"cognito:groups"}}},
			Keys:   registry.Keys{Refresh: registry.Duration(5 * time.Minute), MaxStale: registry.Duration(time.Hour)},
		},
		&registry.Scope{Name: "weather:read", Rules: []registry.Rule{{
			Servers: []string{"weather"}, Tools: []registry.Pattern{"get_forecast", "list_*"}, Prompts: []registry.Pattern{"*"},
			Resources: []registry.Pattern{"weather://*"}, Methods: []string{"logging/setLevel"},
		}}},
		&registry.Group{Name: "/lob1/users", Issuer: "corp", Scopes: []string{"weather:read"}},
	}
}

func TestParseDocumentedExample(t *testing.T) {
	t.Parallel()
	got, err := manifest.Parse("registry.yaml", []byte(documented))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(documentedResources(), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestParseJSON(t *testing.T) {
	t.Parallel()
	scope := &registry.Scope{Name: "a", Description: "😀 / \u2028", Rules: []registry.Rule{{Servers: []string{"*"}}}}
	group := &registry.Group{Name: "g", Scopes: []string{"a"}}
	one := `{"kind":"Scope","name":"a","description":"\ud83d\ude00 \/ \u2028","rules":[{"servers":["*"]}]}`
	two := "{\n\t\"scopes\": [\"a\"],\n\t\"name\": \"g\", \"kind\": \"Group\",\n\t\"metadata\": {\"revision\": 7}\n}"
	want := []registry.Resource{scope, group}
	for name, text := range map[string]string{
		"values in a row":        one + "\n" + two,
		"list":                   "[" + one + ",\n" + two + "]\n",
		"separated":              one + "\n---\n" + two + "\n",
		"separator before":       "--- " + one + "\n---\n" + two + "\n",
		"byte order mark":        "\ufeff" + one + two,
		"with YAML":              one + "\n---\nkind: Group\nname: g\nscopes:\n- a\n",
		"flow style":             one + "\n---\n{kind: Group, name: g, scopes: [a]}\n",
		"list in YAML":           "- {kind: Scope, name: a, description: \"\\U0001F600 / \\u2028\", rules: [{servers: ['*']}]}\n- kind: Group\n  name: g\n  scopes: [a]\n",
		"comments and nothing":   "# a\n---\n# b\n---\n" + one + "\n---\n---\n" + two + "\n---\n",
		"Windows line endings":   one + "\r\n---\r\nkind: Group\r\nname: g\r\nscopes: [a]\r\n",
		"end-of-document marker": one + "\n---\nkind: Group\nname: g\nscopes: [a]\n...\n",
	} {
		got, err := manifest.Parse("x", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

// Each archive in testdata/problems has an input and the problems found in it.
func TestParseProblems(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/problems/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			ar := txtar.Parse(text)
			if len(ar.Files) != 2 {
				t.Fatalf("%d files", len(ar.Files))
			}
			_, err = manifest.Parse(ar.Files[0].Name, ar.Files[0].Data)
			if !errors.Is(err, registry.ErrInvalid) {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(string(ar.Files[1].Data), err.Error()+"\n"); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseProblemsThatATextFileCannotHold(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	for name, c := range map[string]struct{ in, want string }{
		"not UTF-8":        {"kind: Group\nname: \"\xff\"\n", "f:2: the input is not UTF-8"},
		"UTF-16":           {"\xff\xfek\x00", "f:1: the input is not UTF-8"},
		"half a surrogate": {`{"kind":"Group",` + "\n" + `"name":"\ud83d"}`, "f:2: name: has a character that cannot be read"},
		"deep JSON":        {`{"kind":"Group","name":"g","scopes":` + deep + "}", "f:1: scopes" + strings.Repeat("[0]", 32) + " is nested deeper than 32 levels"},
		"deep YAML":        {"kind: Group\nname: g\nscopes: " + deep + "\n", "f:3: scopes" + strings.Repeat("[0]", 32) + ": is nested deeper than 32 levels\nf:3: scopes[0]: expected a string, got a list"},
		"large YAML":       {"kind: Group\nname: g\n---\nkind: Group\nname: " + strings.Repeat("a", 1<<20) + "\n", "f:3: the document is larger than 1048576 bytes"},
		"large JSON":       {`{"kind":"Group","name":"g"}{"kind":"Group","name":"h","scopes":["` + strings.Repeat("a", 5<<20) + `","b"]}`, "f:1: a resource is larger than 4194304 bytes"},
		"many problems":    {strings.Repeat("---\nkind: Gruop\n", 1000), ""},
	} {
		_, err := manifest.Parse("f", []byte(c.in))
		if c.want == "" {
			if n := strings.Count(fmt.Sprint(err), "\n"); n != 200 {
				t.Errorf("%s: %d lines", name, n)
			}
		} else if fmt.Sprint(err) != c.want {
			t.Errorf("%s:\ngot  %v\nwant %s", name, err, c.want)
		}
	}
}

func TestParseTakesNoTimeForHostileInput(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"brackets":     strings.Repeat("[", 1<<20-1),
		"braces":       strings.Repeat("{", 1<<20-1),
		"dashes":       strings.Repeat("- ", 1<<19-1),
		"question":     strings.Repeat("? ", 1<<18),
		"aliases":      "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: &d [*c,*c]\n",
		"separators":   strings.Repeat("---\n", 1<<18),
		"JSON strings": strings.Repeat(`""`, 1<<19),
		"many keys":    "{" + strings.Repeat(`"a":1,`, 1<<17) + `"kind":"Group"}`,
		"long key":     `{"kind":"Group","` + strings.Repeat("a", 1<<20) + `":1}`,
	} {
		start := time.Now()
		_, err := manifest.Parse("f", []byte(in))
		if len(fmt.Sprint(err)) > 1<<16 {
			t.Errorf("%s: an error of %d bytes", name, len(fmt.Sprint(err)))
		}
		t.Logf("%s: %v", name, time.Since(start))
	}
}

func TestPosition(t *testing.T) {
	t.Parallel()
	docs, err := manifest.ParseDocuments("r.yaml", []byte(documented))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		doc         int
		field, want string
	}{
		{0, "upstream.url", "r.yaml:8"},
		{0, "upstream.credential.secret", "r.yaml:10"},
		{0, "", "r.yaml:1"},
		{0, "access.scopes[3].x", "r.yaml:14"},
		{2, "rules[0].tools[1]", "r.yaml:33"},
		{2, "rules[0].tools[7]", "r.yaml:33"},
		{2, "rules[0]", "r.yaml:32"},
		{2, "nothing", "r.yaml:28"},
		{3, "name", "r.yaml:39"},
	} {
		if got := docs[c.doc].Position(c.field); got != c.want {
			t.Errorf("position of %q in document %d is %s, want %s", c.field, c.doc, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(documented))
	f.Add([]byte(`{"kind":"Scope","name":"a","rules":[{"servers":["*"]}]}`))
	f.Add([]byte("[{kind: Group, name: g}]\n---\n- kind: Group\n  name: &a h\n"))
	f.Add([]byte("--- |\n  x\n...\n%YAML 1.2\n--- !!map {kind: Group}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := manifest.Parse("f", data)
		if err != nil {
			var e *manifest.Error
			if !errors.As(err, &e) || len(e.Problems) == 0 || got != nil {
				t.Fatalf("resources %v with error %#v", got, err)
			}
			for _, p := range e.Problems {
				lines := 1
				for _, c := range string(data) {
					if strings.ContainsRune("\n\r\u0085\u2028\u2029", c) { // YAML ends lines at these
						lines++
					}
				}
				if p.Line < 1 || p.Line > lines {
					t.Fatalf("line %d of %d: %v", p.Line, lines, p)
				}
			}
			return
		}
		text, err := manifest.Marshal(got, false)
		if err != nil {
			t.Fatal(err)
		}
		again, err := manifest.Parse("again", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if diff := cmp.Diff(got, again); diff != "" {
			t.Fatalf("(-first +again)\n%s\n%s", diff, text)
		}
	})
}
