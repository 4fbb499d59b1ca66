package extauthz_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
	"github.com/mcpgate/mcpgate/registry"
)

var update = flag.Bool("update", false, "write the decisions into the golden files")

const externalURL = "https://gw.example.com"

// goldenRequest is request.yaml of a case.
type goldenRequest struct {
	Server  string            `json:"server"`
	Verb    string            `json:"verb"`
	Caller  *extauthz.Caller  `json:"caller"`
	Headers map[string]string `json:"headers"`
	Resume  bool              `json:"resume"`
	// Tasks are the ids of the caller's tasks.
	Tasks []string `json:"tasks"`
}

// goldenWant is want.yaml: the decision, and how it looks to the client.
type goldenWant struct {
	Allow     bool     `json:"allow"`
	Rule      string   `json:"rule"`
	Reason    string   `json:"reason,omitempty"`
	Grant     string   `json:"grant,omitempty"`
	Inspect   string   `json:"inspect,omitempty"`
	Status    int      `json:"status,omitempty"`
	Code      int      `json:"code,omitempty"`
	Message   string   `json:"message,omitempty"`
	Data      string   `json:"data,omitempty"`
	Scopes    []string `json:"scopes,omitempty"`
	Challenge string   `json:"challenge,omitempty"`
}

// TestDecideGolden judges each case of testdata/decide. A case is one file:
// what it guards, request.yaml, body.json of a POST, want.yaml, and
// registry.yaml where the common one does not do.
func TestDecideGolden(t *testing.T) {
	t.Parallel()
	common, err := os.ReadFile("testdata/decide/registry.yaml")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/decide/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	var seen []string
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := map[string][]byte{"registry.yaml": common}
			for _, f := range archive.Files {
				parts[f.Name] = f.Data
			}
			got := judge(t, parts)
			seen = append(seen, got.Rule)
			if !strings.HasPrefix(name, "allow-") && !strings.HasPrefix(name, "deny-") &&
				!strings.HasPrefix(name, "scope-name-") && !strings.HasPrefix(name, got.Rule) {
				t.Errorf("rule %q, but the case is named %q", got.Rule, name)
			}
			if strings.HasPrefix(name, "allow-") != got.Allow {
				t.Errorf("allow %v, but the case is named %q", got.Allow, name)
			}
			text, err := yaml.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return f.Name == "want.yaml" })
				archive.Files = append(archive.Files, txtar.File{Name: "want.yaml", Data: text})
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(parts["want.yaml"]), string(text)); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
	for _, rule := range decided {
		if !slices.Contains(seen, string(rule)) {
			t.Errorf("no case for rule %s", rule)
		}
	}
}

// decided are the rules that Decide can give; the others are given by the
// packages around it.
var decided = []extauthz.Rule{
	extauthz.RuleGranted, extauthz.RuleServerUnknown, extauthz.RuleVerb, extauthz.RuleVerbModern,
	extauthz.RuleTokenMissing, extauthz.RuleTokenIssuer, extauthz.RuleTokenRevoked, extauthz.RuleInternal,
	extauthz.RuleMirrorMissing, extauthz.RuleMirrorMismatch, extauthz.RuleVersionUnsupported,
	extauthz.RuleMetaMissing, extauthz.RuleResponseModern, extauthz.RuleMessageKind,
	extauthz.RuleTargetMissing, extauthz.RuleRefUnknown,
	extauthz.RuleMethodUnknown, extauthz.RuleMethodUnknownLegacy,
	extauthz.RuleScopeInsufficient, extauthz.RuleNoScopeHelps,
	extauthz.RuleTasksList, extauthz.RuleTaskNotBound, extauthz.RuleTaskNotBoundLegacy,
}

func judge(t *testing.T, parts map[string][]byte) goldenWant {
	t.Helper()
	policies := extauthz.NewPolicies(extauthz.Config{ExternalURL: externalURL})
	policies.Load(registry.Snapshot{Revision: 1, Resources: decodeRegistry(t, parts["registry.yaml"])})
	var in goldenRequest
	if err := yaml.UnmarshalStrict(parts["request.yaml"], &in); err != nil {
		t.Fatal(err)
	}
	r := extauthz.Request{Verb: in.Verb, Resume: in.Resume}
	r.OwnsTask = func(id string) bool { return slices.Contains(in.Tasks, id) }
	for name, value := range in.Headers {
		f := rpcbody.Field{Value: value, Present: true}
		switch name {
		case "MCP-Protocol-Version":
			r.Mirrored.Version = f
		case "Mcp-Method":
			r.Mirrored.Method = f
		case "Mcp-Name":
			r.Mirrored.Name = f
		default:
			t.Fatalf("unknown header %q", name)
		}
	}
	if body, ok := parts["body.json"]; ok {
		r.Message = &rpcbody.Message{}
		if err := rpcbody.Read(body, r.Message); err != nil {
			t.Fatal(err)
		}
	}
	policy, _ := policies.Server(in.Server)
	d := extauthz.Decide(policy, r, in.Caller)
	want := goldenWant{
		Allow: d.Allow, Rule: string(d.Rule), Reason: d.Reason, Grant: d.Grant,
		Data: d.Data, Scopes: d.Scopes, Challenge: d.Challenge(policy),
	}
	if d.Allow {
		want.Inspect = d.Reply.String()
	} else {
		a := d.Rule.Answer()
		want.Status, want.Code, want.Message = a.Status, a.Code, a.Message
	}
	return want
}

func decodeRegistry(t testing.TB, data []byte) []registry.Resource {
	t.Helper()
	var rs []registry.Resource
	for doc := range strings.SplitSeq(string(data), "\n---\n") {
		text, err := yaml.YAMLToJSON([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		r, err := registry.Decode(json.RawMessage(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := registry.Validate(r); err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	return rs
}
