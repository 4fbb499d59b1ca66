package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTypeScriptClientStepsUp is the dance of the client of the TypeScript SDK
// with the grant client_credentials.
func TestTypeScriptClientStepsUp(t *testing.T) {
	t.Parallel()
	n := startNotes(t)
	for _, test := range []struct{ name, server, version string }{
		{"2026-07-28", stateless, "2026-07-28"},
		{"2025-11-25", stateless, ""},
		{"2025-11-25 with a session", stateful, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			type result struct {
				Text  string   `json:"text"`
				Tools []string `json:"tools"`
			}
			var calls []any
			var want []result
			for _, r := range rounds {
				calls = append(calls, map[string]any{"name": r.tool, "arguments": r.arguments})
				want = append(want, result{r.text, r.tools})
			}
			config, err := json.Marshal(map[string]any{
				"url": n.resource(test.server), "issuer": n.issuer, "version": test.version,
				"clientId": clientID, "clientSecret": clientSecret, "calls": calls,
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cmd := program(ctx, t, node(t), nodeScript(t, "client-credentials.mjs"), string(config))
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, &stderr)
			}
			var got struct {
				Rounds []result `json:"rounds"`
				Wire   []string `json:"wire"`
			}
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if diff := cmp.Diff(want, got.Rounds); diff != "" {
				t.Errorf("what the client got (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(dance(test.server, test.version == "", false), got.Wire); diff != "" {
				t.Errorf("on the wire (-want +got):\n%s", diff)
			}
		})
	}
}
