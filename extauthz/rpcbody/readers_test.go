package rpcbody

import (
	"bufio"
	"bytes"
	"encoding/base64"
	jsonv1 "encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/buger/jsonparser"
	"github.com/bytedance/sonic"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	segmentio "github.com/segmentio/encoding/json"
	"github.com/tidwall/gjson"
)

// reading is what a reader takes a message for: nil is an absent member. An id
// is the string itself or the digits; null is an absent one.
type reading struct {
	Method      *string  `json:"method"`
	ID          *string  `json:"id"`
	Name        *string  `json:"name"`
	URI         *string  `json:"uri"`
	TaskID      *string  `json:"taskId"`
	Version     *string  `json:"version"`
	MetaVersion *string  `json:"metaVersion"`
	RefType     *string  `json:"refType"`
	RefName     *string  `json:"refName"`
	RefURI      *string  `json:"refURI"`
	Resources   []string `json:"resources"`
	TaskIDs     []string `json:"taskIds"`
}

// ours is the reading of an accepted message.
func ours(tb testing.TB, m *Message) reading {
	tb.Helper()
	opt := func(f Field) *string {
		if !f.Present {
			return nil
		}
		return &f.Value
	}
	id := Field{m.ID, m.ID != "" && m.ID != "null"}
	if id.Present && m.ID[0] == '"' {
		if err := jsonv2.Unmarshal([]byte(m.ID), &id.Value); err != nil {
			tb.Fatalf("id %s: %v", m.ID, err)
		}
	}
	return reading{
		Method: opt(Field{m.Method, m.Method != ""}), ID: opt(id),
		Name: opt(m.Name), URI: opt(m.URI), TaskID: opt(m.TaskID), Version: opt(m.Version), MetaVersion: opt(m.MetaVersion),
		RefType: opt(m.Ref.Type), RefName: opt(m.Ref.Name), RefURI: opt(m.Ref.URI),
		Resources: m.Resources, TaskIDs: m.TaskIDs,
	}
}

// wire is a message as a Go server declares it.
type wire struct {
	JSONRPC string  `json:"jsonrpc"`
	Method  *string `json:"method"`
	ID      any     `json:"id"`
	Params  struct {
		Name    *string `json:"name"`
		URI     *string `json:"uri"`
		TaskID  *string `json:"taskId"`
		Version *string `json:"protocolVersion"`
		Meta    struct {
			Version *string `json:"io.modelcontextprotocol/protocolVersion"`
		} `json:"_meta"`
		Ref struct {
			Type *string `json:"type"`
			Name *string `json:"name"`
			URI  *string `json:"uri"`
		} `json:"ref"`
		Notifications struct {
			Resources []string `json:"resourceSubscriptions"`
			TaskIDs   []string `json:"taskIds"`
		} `json:"notifications"`
	} `json:"params"`
}

func (w *wire) reading() reading {
	p := &w.Params
	r := reading{
		Method: w.Method, Name: p.Name, URI: p.URI, TaskID: p.TaskID, Version: p.Version, MetaVersion: p.Meta.Version,
		RefType: p.Ref.Type, RefName: p.Ref.Name, RefURI: p.Ref.URI, Resources: p.Notifications.Resources, TaskIDs: p.Notifications.TaskIDs,
	}
	switch id := w.ID.(type) {
	case string:
		r.ID = &id
	case float64:
		digits := strconv.FormatFloat(id, 'f', -1, 64)
		r.ID = &digits
	}
	return r
}

func unmarshal(f func([]byte, any) error) func([]byte) (reading, error) {
	return func(body []byte) (reading, error) {
		var w wire
		err := f(body, &w)
		return w.reading(), err
	}
}

// readers are other readers of JSON, each as a server would use it.
var readers = []struct {
	name string
	read func([]byte) (reading, error)
}{
	{"json v1", unmarshal(jsonv1.Unmarshal)},
	{"json v2", unmarshal(func(b []byte, v any) error { return jsonv2.Unmarshal(b, v) })},
	{"json v2 ignoring case", unmarshal(func(b []byte, v any) error { return jsonv2.Unmarshal(b, v, jsonv2.MatchCaseInsensitiveNames(true)) })},
	{"segmentio", unmarshal(segmentio.Unmarshal)},
	{"segmentio as the Go SDK", unmarshal(func(b []byte, v any) error {
		_, err := segmentio.Parse(b, v, segmentio.DontMatchCaseInsensitiveStructFields)
		return err
	})},
	{"sonic", unmarshal(sonic.Unmarshal)},
	{"sonic as encoding/json", unmarshal(sonic.ConfigStd.Unmarshal)},
	{"gjson", readGJSON},
	{"jsonparser", readJSONParser},
}

func readGJSON(body []byte) (reading, error) {
	get := func(path string) *string {
		r := gjson.GetBytes(body, path)
		if !r.Exists() || r.Type == gjson.Null {
			return nil
		}
		s := r.String()
		return &s
	}
	list := func(path string) (all []string) {
		for _, r := range gjson.GetBytes(body, path).Array() {
			all = append(all, r.String())
		}
		return all
	}
	r := reading{
		Method: get("method"), Name: get("params.name"), URI: get("params.uri"), TaskID: get("params.taskId"), Version: get("params.protocolVersion"),
		MetaVersion: get(`params._meta.io\.modelcontextprotocol/protocolVersion`),
		RefType:     get("params.ref.type"), RefName: get("params.ref.name"), RefURI: get("params.ref.uri"),
		Resources: list("params.notifications.resourceSubscriptions"), TaskIDs: list("params.notifications.taskIds"),
	}
	if id := gjson.GetBytes(body, "id"); id.Type == gjson.Number {
		r.ID = &id.Raw
	} else {
		r.ID = get("id")
	}
	return r, nil
}

func readJSONParser(body []byte) (reading, error) {
	var failed error
	get := func(path ...string) *string {
		value, kind, _, err := jsonparser.Get(body, path...)
		switch {
		case errors.Is(err, jsonparser.KeyPathNotFoundError) || err == nil && kind == jsonparser.Null:
			return nil
		case err != nil:
			failed = fmt.Errorf("%v: %w", path, err)
			return nil
		}
		s := string(value)
		if kind == jsonparser.String {
			if s, err = jsonparser.ParseString(value); err != nil {
				failed = fmt.Errorf("%v: %w", path, err)
			}
		}
		return &s
	}
	list := func(path ...string) (all []string) {
		_, err := jsonparser.ArrayEach(body, func(value []byte, _ jsonparser.ValueType, _ int, _ error) {
			s, err := jsonparser.ParseString(value)
			if err != nil {
				failed = err
			}
			all = append(all, s)
		}, path...)
		if err != nil && !errors.Is(err, jsonparser.KeyPathNotFoundError) {
			failed = fmt.Errorf("%v: %w", path, err)
		}
		return all
	}
	return reading{
		Method: get("method"), ID: get("id"), Name: get("params", "name"), URI: get("params", "uri"), TaskID: get("params", "taskId"),
		Version: get("params", "protocolVersion"), MetaVersion: get("params", "_meta", metaVersion),
		RefType: get("params", "ref", "type"), RefName: get("params", "ref", "name"), RefURI: get("params", "ref", "uri"),
		Resources: list("params", "notifications", "resourceSubscriptions"), TaskIDs: list("params", "notifications", "taskIds"),
	}, failed
}

// agree reports every reader that takes an accepted body for something else
// than we do, and whether the body was accepted.
func agree(tb testing.TB, body []byte) (accepted bool) {
	tb.Helper()
	before := bytes.Clone(body)
	var m Message
	err := Read(body, &m)
	if !bytes.Equal(before, body) {
		tb.Fatalf("Read changed the body %q", before)
	}
	if err != nil {
		var e *Error
		if !errors.As(err, &e) || e.Rule == "" || e.Offset < 0 || e.Offset > len(body) {
			tb.Errorf("Read(%q) = %#v", body, err)
		}
		return false
	}
	want := ours(tb, &m)
	for _, r := range readers {
		got, err := r.read(bytes.Clone(body))
		if err != nil {
			tb.Errorf("%s refuses what we accept: %v\n%q", r.name, err, body)
			continue
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			tb.Errorf("%s takes %q for something else (-ours +theirs):\n%s", r.name, body, diff)
		}
	}
	return true
}

// corpus returns bodies of all kinds, accepted or not.
func corpus(tb testing.TB) [][]byte {
	tb.Helper()
	var all [][]byte
	for _, m := range messages {
		all = append(all, []byte(m.body))
	}
	for _, c := range suite(tb) {
		all = append(all, []byte(arguments(c.json)))
	}
	for _, rule := range Rules() {
		for _, body := range refusals[rule] {
			all = append(all, []byte(body))
		}
	}
	return all
}

// TestPythonAndNodeAgree hands every accepted body of the corpus and of the
// generator to Python's json and to JSON.parse.
func TestPythonAndNodeAgree(t *testing.T) {
	t.Parallel()
	bodies := corpus(t)
	gen := genBody()
	for seed := range 3000 {
		bodies = append(bodies, gen.Example(seed))
	}
	var file bytes.Buffer
	var accepted [][]byte
	var want []reading
	for _, body := range bodies {
		var m Message
		if Read(body, &m) != nil {
			continue
		}
		accepted, want = append(accepted, body), append(want, ours(t, &m))
		file.WriteString(base64.StdEncoding.EncodeToString(body))
		file.WriteByte('\n')
	}
	if len(accepted) < 500 {
		t.Fatalf("only %d of %d bodies are accepted: the comparison says little", len(accepted), len(bodies))
	}
	path := filepath.Join(t.TempDir(), "bodies")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"python3", "testdata/readers.py", path}, {"node", "testdata/readers.mjs", path}} {
		t.Run(command[0], func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %v\n%s", command, err, stderr.Bytes())
			}
			lines := bufio.NewScanner(bytes.NewReader(out))
			lines.Buffer(nil, 1<<20)
			n := 0
			for ; lines.Scan(); n++ {
				var got reading
				if err := jsonv2.Unmarshal(lines.Bytes(), &got); err != nil {
					t.Fatalf("line %d: %v", n, err)
				}
				if diff := cmp.Diff(want[n], got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s takes %q for something else (-ours +theirs):\n%s", command[0], accepted[n], diff)
				}
			}
			if n != len(accepted) {
				t.Errorf("%d readings for %d bodies", n, len(accepted))
			}
		})
	}
}
