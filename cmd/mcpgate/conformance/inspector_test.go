package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Exit codes of the Inspector.
const (
	inspectorOK           = 0
	inspectorAuthRequired = 3
	inspectorToolNotFound = 5
)

// TestInspectorWithClientCredentials runs the command line of the MCP Inspector
// with tokens of the grant client_credentials. It reads the list of tools
// before it calls one, so what the list does not show is not found.
func TestInspectorWithClientCredentials(t *testing.T) {
	t.Parallel()
	n := startNotes(t)
	read := n.clientToken(t, stateless, "notes:read")
	write := n.clientToken(t, stateless, "notes:read notes:write")
	list := []string{"--method", "tools/list"}
	addNote := []string{"--method", "tools/call", "--tool-name", "add_note", "--tool-arg", "text=x"}
	for _, era := range []string{"legacy", "modern"} {
		for _, test := range []struct {
			name, token string
			args        []string
			exit        int
			// want are the names of the tools, the texts of the content, or
			// the code of the error.
			want []string
		}{
			{"sees what it may use", read, list, inspectorOK, []string{"list_notes"}},
			{"does not find what it may not use", read, addNote, inspectorToolNotFound, []string{"tool_not_found"}},
			{"calls what it may use", write, addNote, inspectorOK, []string{"added: x"}},
			{"is told that it needs a token", "", list, inspectorAuthRequired, []string{"auth_required"}},
		} {
			t.Run(era+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				args := slices.Concat([]string{"--protocol-era", era}, test.args)
				if test.token != "" {
					args = append(args, "--header", "Authorization: Bearer "+test.token)
				}
				exit, got := inspect(t, n.resource(stateless), args)
				if exit != test.exit {
					t.Errorf("exit code %d, want %d", exit, test.exit)
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("answer (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// inspect runs the Inspector and returns its exit code and the names, texts or
// error code in what it prints.
func inspect(t testing.TB, url string, args []string) (exit int, words []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := program(ctx, t, node(t), append([]string{
		nodePackage(t, "@modelcontextprotocol/inspector/clients/launcher/build/index.js"),
		"--cli", url, "--transport", "http", "--stored-auth-only", "--format", "json",
	}, args...)...)
	// It keeps tokens and a catalog there.
	cmd.Env = append(cmd.Environ(), "HOME="+t.TempDir())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	var answer struct {
		Result struct {
			Tools   []struct{ Name string }
			Content []struct{ Text string }
		}
		Error struct{ Code string }
	}
	text := stdout.Bytes()
	if len(text) == 0 {
		text = stderr.Bytes()
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.ProcessState, err, &stdout, &stderr)
	}
	for _, tool := range answer.Result.Tools {
		words = append(words, tool.Name)
	}
	for _, content := range answer.Result.Content {
		words = append(words, content.Text)
	}
	if answer.Error.Code != "" {
		words = append(words, answer.Error.Code)
	}
	return cmd.ProcessState.ExitCode(), words
}
