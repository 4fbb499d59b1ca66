package listfilter

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// shown is a filter for tests: the names that are seen.
type shown []string

func (s shown) All() bool               { return slices.Contains(s, "*") }
func (s shown) Allows(name string) bool { return s.All() || slices.Contains(s, name) }

// sees makes the visibility of a caller who sees these items of each list.
func sees(names map[list]shown) func(list) (filter, error) {
	return func(l list) (filter, error) { return names[l], nil }
}

var everything = map[list]shown{tools: {"*"}, prompts: {"*"}, resources: {"*"}, resourceTemplates: {"*"}}

// spliced is the text of a message after its edits.
func spliced(m *message) string {
	return string(bytes.Join(slices.Collect(m.pieces()), nil))
}

func reply1(result string) string { return `{"jsonrpc":"2.0","id":1,"result":` + result + `}` }

func TestSplice(t *testing.T) {
	t.Parallel()
	mine := map[list]shown{
		tools: {"a", "c", "é"}, prompts: {"a"}, resources: {"file:///a"}, resourceTemplates: {"file:///{a}"},
	}
	for name, tc := range map[string]struct {
		own      list
		sees     map[list]shown
		in, want string
	}{
		"nothing hidden": {
			tools, mine,
			reply1(`{ "tools" : [ {"name":"a"} ,{"x":1, "name" : "c"}]}`), reply1(`{ "tools" : [ {"name":"a"} ,{"x":1, "name" : "c"}]}`),
		},
		"first hidden":       {tools, mine, reply1(`{"tools":[{"name":"b"}, {"name":"a"}]}`), reply1(`{"tools":[{"name":"a"}]}`)},
		"middle hidden":      {tools, mine, reply1(`{"tools":[{"name":"a"} , {"name":"b"} , {"name":"c"} ]}`), reply1(`{"tools":[{"name":"a"} , {"name":"c"} ]}`)},
		"last hidden":        {tools, mine, reply1(`{"tools":[{"name":"a"} , {"name":"b"} ]}`), reply1(`{"tools":[{"name":"a"} ]}`)},
		"runs hidden":        {tools, mine, reply1(`{"tools":[{"name":"x"},{"name":"y"},{"name":"a"},{"name":"x"},{"name":"y"},{"name":"c"},{"name":"x"},{"name":"y"}]}`), reply1(`{"tools":[{"name":"a"},{"name":"c"}]}`)},
		"all hidden":         {tools, mine, reply1(`{"tools":[ {"name":"b"},{"name":"d"} ]}`), reply1(`{"tools":[  ]}`)},
		"empty list":         {tools, mine, reply1(`{"tools":[]}`), reply1(`{"tools":[]}`)},
		"no list":            {tools, mine, reply1(`{}`), reply1(`{}`)},
		"case is not folded": {tools, mine, reply1(`{"tools":[{"name":"A"}]}`), reply1(`{"tools":[]}`)},
		"escapes in names": {
			tools, mine,
			reply1(`{"to\u006fls":[{"n\u0061me":"\u0061"},{"name":"\u0062"},{"name":"\u00e9"}]}`),
			reply1(`{"to\u006fls":[{"n\u0061me":"\u0061"},{"name":"\u00e9"}]}`),
		},
		"items without a string name": {
			tools, mine,
			reply1(`{"tools":[{},{"name":1},{"title":"a"},"a",null,[{"name":"a"}],{"name":"a"}]}`), reply1(`{"tools":[{"name":"a"}]}`),
		},
		"members of a schema are not read": {
			tools, mine,
			reply1(`{"tools":[{"name":"a","inputSchema":{"properties":{"Name":{},"name":{"const":"b"},"Tools":[],"tools":[{"name":"b"}]}}}]}`),
			reply1(`{"tools":[{"name":"a","inputSchema":{"properties":{"Name":{},"name":{"const":"b"},"Tools":[],"tools":[{"name":"b"}]}}}]}`),
		},
		"paging stays": {
			tools, mine,
			reply1(`{"nextCursor":"n","tools":[{"name":"b"}],"ttlMs":5,"resultType":"complete","_meta":{"k":[1]}}`),
			reply1(`{"nextCursor":"n","tools":[],"ttlMs":5,"resultType":"complete","_meta":{"k":[1]}}`),
		},
		"public cache": {
			tools, mine,
			reply1(`{"cacheScope": "public","tools":[{"name":"b"},{"name":"a"}]}`), reply1(`{"cacheScope": "private","tools":[{"name":"a"}]}`),
		},
		"private cache": {tools, mine, reply1(`{"tools":[],"cacheScope":"private"}`), reply1(`{"tools":[],"cacheScope":"private"}`)},
		"odd cache":     {tools, mine, reply1(`{"tools":[],"cacheScope":null}`), reply1(`{"tools":[],"cacheScope":"private"}`)},
		"other lists out": {
			tools, mine,
			reply1(`{"prompts":[{"name":"a"}],"tools":[{"name":"b"},{"name":"a"}],"resources":[],"resourceTemplates":{}}`), reply1(`{"tools":[{"name":"a"}]}`),
		},
		"other lists out between": {
			tools, mine,
			reply1(`{"x":1,"prompts":[{"name":"a"}] ,"tools":[]}`), reply1(`{"x":1 ,"tools":[]}`),
		},
		"only another list": {tools, mine, reply1(`{"prompts":[{"name":"a"}]}`), reply1(`{}`)},
		"other lists out for a caller who sees all tools": {
			tools,
			map[list]shown{tools: {"*"}},
			reply1(`{"tools":[{"name":"b"}],"prompts":[]}`), reply1(`{"tools":[{"name":"b"}]}`),
		},
		"all is seen": {
			tools, everything,
			reply1(`{"tools":[{"name":"b"},{},1],"prompts":[{"name":"x"}],"resources":[null]}`),
			reply1(`{"tools":[{"name":"b"},{},1],"prompts":[{"name":"x"}],"resources":[null]}`),
		},
		"all is seen but not shared": {
			tools, everything,
			reply1(`{"tools":[{"name":"b"}],"cacheScope":"public"}`), reply1(`{"tools":[{"name":"b"}],"cacheScope":"private"}`),
		},
		"prompts": {prompts, mine, reply1(`{"prompts":[{"name":"b"},{"name":"a"}]}`), reply1(`{"prompts":[{"name":"a"}]}`)},
		"resources by uri": {
			resources, mine,
			reply1(`{"resources":[{"name":"file:///a","uri":"file:///b"},{"uri":"file:///a","name":"n"},{"name":"file:///a"}]}`),
			reply1(`{"resources":[{"uri":"file:///a","name":"n"}]}`),
		},
		"templates by uriTemplate": {
			resourceTemplates, mine,
			reply1(`{"resourceTemplates":[{"uriTemplate":"file:///{b}"},{"uriTemplate":"file:///{a}"}]}`),
			reply1(`{"resourceTemplates":[{"uriTemplate":"file:///{a}"}]}`),
		},
		"replay: each list by its own kind": {
			anyList, mine,
			reply1(`{"tools":[{"name":"b"}],"prompts":[{"name":"b"},{"name":"a"}],"resources":[{"uri":"x"}],"content":[{"name":"b"}]}`),
			reply1(`{"tools":[],"prompts":[{"name":"a"}],"resources":[],"content":[{"name":"b"}]}`),
		},
		"error":        {tools, mine, `{"jsonrpc":"2.0","id":1,"error":{"code":1,"data":{"tools":[{"name":"b"}]}}}`, `{"jsonrpc":"2.0","id":1,"error":{"code":1,"data":{"tools":[{"name":"b"}]}}}`},
		"notification": {tools, mine, `{"method":"m","params":{"tools":[{"name":"b"}]}}`, `{"method":"m","params":{"tools":[{"name":"b"}]}}`},
	} {
		p := &splicer{own: tc.own, visible: sees(tc.sees), maxItems: 100}
		m, err := p.read([]byte(tc.in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tc.want, spliced(m)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

// refusals are the messages that are refused, by rule.
var refusals = []struct {
	rule reason
	in   string
}{
	{reasonSyntax, ``},
	{reasonSyntax, ` `},
	{reasonSyntax, `null`},
	{reasonSyntax, "\uFEFF" + reply1(`{}`)},
	{reasonSyntax, reply1(`{}`) + `x`},
	{reasonSyntax, reply1(`{}`) + reply1(`{}`)},
	{reasonSyntax, reply1(`{"tools":[{"name":"a"}`)},
	{reasonSyntax, reply1(`{"tools":[{"name":"a",}]}`)},
	{reasonSyntax, reply1("{\"tools\":[{\"name\":\"\xff\"}]}")},
	{reasonSyntax, reply1(`{"tools":[{"name":"\ud800"}]}`)},
	{reasonDuplicate, `{"result":{},"result":{"tools":[]}}`},
	{reasonDuplicate, `{"id":1,"result":{},"id":2}`},
	{reasonDuplicate, reply1(`{"tools":[],"tools":[{"name":"b"}]}`)},
	{reasonDuplicate, reply1(`{"tools":[],"\u0074ools":[{"name":"b"}]}`)},
	{reasonDuplicate, reply1(`{"tools":[{"name":"a","name":"b"}]}`)},
	{reasonDuplicate, reply1(`{"tools":[{"name":"a","inputSchema":{"x":1,"x":2}}]}`)},
	{reasonFolded, `{"id":1,"Result":{"tools":[]}}`},
	{reasonFolded, `{"id":1,"re\u017fult":{"tools":[]}}`},
	{reasonFolded, `{"ID":1,"result":{}}`},
	{reasonFolded, `{"id":1,"result":{},"Method":"m"}`},
	{reasonFolded, `{"id":1,"ERROR":{},"result":{}}`},
	{reasonFolded, reply1(`{"Tools":[{"name":"b"}]}`)},
	{reasonFolded, reply1(`{"tool` + "\u017f" + `":[{"name":"b"}]}`)},
	{reasonFolded, reply1(`{"tools":[],"PROMPTS":[]}`)},
	{reasonFolded, reply1(`{"tools":[],"resourcetemplates":[]}`)},
	{reasonFolded, reply1(`{"tools":[],"Resources":[]}`)},
	{reasonFolded, reply1(`{"tools":[],"cachescope":"public"}`)},
	{reasonFolded, reply1(`{"tools":[{"name":"a","Name":"b"}]}`)},
	{reasonFolded, reply1(`{"tools":[{"name":"a","URI":"b"}]}`)},
	{reasonFolded, reply1(`{"tools":[{"name":"a","uritemplate":"b"}]}`)},
	{reasonDepth, reply1(`{"x":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + `}`)},
	{reasonShape, `[]`},
	{reasonShape, `[` + reply1(`{"tools":[{"name":"b"}]}`) + `]`},
	{reasonShape, `{}`},
	{reasonShape, `{"id":1}`},
	{reasonShape, `{"id":1,"result":{},"error":{}}`},
	{reasonShape, `{"id":1,"method":"m","result":{"tools":[{"name":"b"}]}}`},
	{reasonShape, reply1(`[]`)},
	{reasonShape, reply1(`null`)},
	{reasonShape, reply1(`"tools"`)},
	{reasonShape, reply1(`{"tools":{"0":{"name":"b"}}}`)},
	{reasonShape, reply1(`{"tools":null}`)},
	{reasonItems, reply1(`{"tools":[` + strings.Repeat(`1,`, 100) + `1]}`)},
}

func TestSpliceRefusals(t *testing.T) {
	t.Parallel()
	for _, own := range []list{tools, anyList} {
		p := &splicer{own: own, visible: sees(map[list]shown{tools: {"a"}}), maxItems: 100}
		for _, tc := range refusals {
			if _, err := p.read([]byte(tc.in)); !errors.Is(err, tc.rule) {
				t.Errorf("%s: %q: got %v", tc.rule, tc.in, err)
			}
		}
	}
}

func TestSpliceAtTheItemLimit(t *testing.T) {
	t.Parallel()
	p := &splicer{own: tools, visible: sees(everything), maxItems: 3}
	if _, err := p.read([]byte(reply1(`{"tools":[1,2,3]}`))); err != nil {
		t.Error(err)
	}
	if _, err := p.read([]byte(reply1(`{"tools":[1,2,3,4]}`))); !errors.Is(err, reasonItems) {
		t.Errorf("one above the limit: %v", err)
	}
}

func TestSpliceStopsWhenTheServerIsGone(t *testing.T) {
	t.Parallel()
	p := &splicer{own: tools, maxItems: 3, visible: func(list) (filter, error) { return nil, reasonServer }}
	for _, in := range []string{`{"tools":[]}`, `{"prompts":[]}`} {
		if _, err := p.read([]byte(reply1(in))); !errors.Is(err, reasonServer) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestSameID(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{`1`, `1`, true},
		{`1`, `2`, false},
		{`1`, `"1"`, false},
		{`1`, `1.0`, false},
		{`"a"`, `"a"`, true},
		{`"a"`, `"\u0061"`, true},
		{`"<"`, `"\u003c"`, true},
		{`"a"`, `"A"`, false},
		{`null`, `null`, true},
		{``, ``, false},
		{`1`, ``, false},
		{`"a`, `"a`, false},
		{`"a"x`, `"a"x`, false},
	} {
		if got := sameID([]byte(tc.a), []byte(tc.b)); got != tc.want {
			t.Errorf("sameID(%s, %s) = %v", tc.a, tc.b, got)
		}
	}
}

// item is a list item as drawn: its raw JSON and its name.
type item struct {
	raw, name string
	hidden    bool
}

// drawItems draws items whose names, when hidden, stand nowhere else.
func drawItems(t *rapid.T) []item {
	items := make([]item, rapid.IntRange(0, 12).Draw(t, "items"))
	for i := range items {
		hidden := rapid.Bool().Draw(t, "hidden")
		word := "seen"
		if hidden {
			word = "hidden"
		}
		name := fmt.Sprintf("%s_%d", word, i)
		space := func() string { return rapid.SampledFrom([]string{"", "", " ", "\n", "\t "}).Draw(t, "space") }
		members := []string{
			`"name"` + space() + `:` + space() + `"` + name + `"`,
			`"description":"` + rapid.SampledFrom([]string{"", "a \\\"b\\\" é", "{[,]}", "\\ud83d\\ude00"}).Draw(t, "text") + `"`,
			`"inputSchema":{"type":"object","properties":{"Name":{"type":[1,-2.5e3,null,true]}}}`,
		}
		members = rapid.Permutation(members).Draw(t, "members")
		items[i] = item{"{" + space() + strings.Join(members, space()+","+space()) + space() + "}", name, hidden}
	}
	return items
}

// drawReply draws a tools/list reply with these items.
func drawReply(t *rapid.T, items []item, id string) string {
	raw := make([]string, len(items))
	for i, it := range items {
		raw[i] = it.raw
	}
	sep := rapid.SampledFrom([]string{",", " ,\n "}).Draw(t, "separator")
	members := []string{`"tools":[` + strings.Join(raw, sep) + `]`, `"nextCursor":"c"`}
	if rapid.Bool().Draw(t, "cached") {
		members = append(members, `"cacheScope":"public"`)
	}
	if rapid.Bool().Draw(t, "other list") {
		members = append(members, `"prompts":[{"name":"hidden_prompt"}]`)
	}
	result := "{" + strings.Join(rapid.Permutation(members).Draw(t, "result"), sep) + "}"
	envelope := rapid.Permutation([]string{`"jsonrpc":"2.0"`, `"id":` + id, `"result":` + result}).Draw(t, "envelope")
	return "{" + strings.Join(envelope, sep) + "}"
}

// seen is the visibility of a caller who sees the items that are not hidden.
func seen(items []item) map[list]shown {
	s := map[list]shown{tools: {"nothing"}}
	for _, it := range items {
		if !it.hidden {
			s[tools] = append(s[tools], it.name)
		}
	}
	return s
}

// checkFiltered checks that out is in without what is hidden.
func checkFiltered(t *rapid.T, in, out string) {
	if strings.Contains(out, "hidden_") {
		t.Fatalf("a hidden name is in the output:\n%s", out)
	}
	want, got := map[string]any{}, map[string]any{}
	if err := json.Unmarshal([]byte(in), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	result, _ := want["result"].(map[string]any)
	delete(result, "prompts")
	list, _ := result["tools"].([]any)
	result["tools"] = slices.DeleteFunc(list, func(tool any) bool {
		o, _ := tool.(map[string]any)
		name, _ := o["name"].(string)
		return strings.HasPrefix(name, "hidden_")
	})
	if _, ok := result["cacheScope"]; ok {
		result["cacheScope"] = "private"
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
}

func TestSpliceProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		items := drawItems(t)
		in := drawReply(t, items, "1")
		p := &splicer{own: tools, visible: sees(seen(items)), maxItems: 100}
		m, err := p.read([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		checkFiltered(t, in, spliced(m))

		p.visible = sees(everything)
		if m, err = p.read([]byte(in)); err != nil {
			t.Fatal(err)
		}
		if want := strings.Replace(in, `"public"`, `"private"`, 1); spliced(m) != want {
			t.Fatalf("a caller who sees everything: got\n%s\nwant\n%s", spliced(m), want)
		}
	})
}

// FuzzSplice looks for texts that are accepted and show a tool that the caller
// does not see to a reader that parses the output as a client would.
func FuzzSplice(f *testing.F) {
	for _, tc := range refusals {
		f.Add([]byte(tc.in))
	}
	f.Add([]byte(reply1(`{"tools":[{"name":"b"},{"name":"a"}],"cacheScope":"public","prompts":[{"name":"a"}]}`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &splicer{own: tools, visible: sees(map[list]shown{tools: {"a"}}), maxItems: 1000}
		m, err := p.read(data)
		if err != nil {
			return
		}
		out := spliced(m)
		if len(m.edits) == 0 && out != string(data) {
			t.Fatalf("not identical: %q", out)
		}
		// A reader that ignores case is the most generous one.
		var got struct {
			Result struct {
				Tools   []any
				Prompts any
			}
		}
		if err := json.Unmarshal([]byte(out), &got, json.MatchCaseInsensitiveNames(true)); err != nil {
			if m.result && !strings.Contains(err.Error(), "exceeded") {
				t.Fatalf("output %q of %q: %v", out, data, err)
			}
			return
		}
		if m.result && got.Result.Prompts != nil {
			t.Fatalf("prompts in %q", out)
		}
		for _, tool := range got.Result.Tools {
			if o, ok := tool.(map[string]any); !ok || o["name"] != "a" {
				t.Fatalf("hidden tool in %q", out)
			}
		}
	})
}
