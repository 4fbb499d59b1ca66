package e2e_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// advisory is one bug that others had, and what holds against it here.
type advisory struct {
	// section is that of the catalogue: 4.1 message body, 4.2 path, header and
	// protocol, 4.3 tokens, caches and keys, 4.4 control plane, registration
	// and store.
	section string
	// ids are the advisories, the first one names the row; an attack without
	// one has a name in small letters.
	ids string
	// bug is what went wrong, in one line.
	bug string
	// rows are requests through the whole gateway. Each is sent over HTTP/1.1
	// and, where it can be said there in the same way, over HTTP/2.
	rows []row
	// run are attacks that are no single request.
	run []attack
	// tests hold what is left, elsewhere.
	tests []string
	// outside says why nothing is to be held here.
	outside string
	// missing says what nothing holds yet.
	missing string
}

// attack is a test that is no single request.
type attack struct {
	name, outcome string
	run           func(t *testing.T, c *catalogue)
}

// key names the row.
func (a advisory) key() string { return strings.Fields(strings.ReplaceAll(a.ids, ",", " "))[0] }

// catalogue is the gateway that its rows share.
type catalogue struct {
	*table
	forger *forger

	mu   sync.Mutex
	want map[string]int
	sent int
}

const catalogueDocuments = `kind: Server
name: nosecret
upstream: {url: %[1]s/up/nosecret, credential: {header: Authorization, secret: "file:/nonexistent/secret"}}
---
kind: Server
name: onlycorp
upstream: {url: %[1]s/up/onlycorp}
access: {issuers: [corp], audiences: [https://onlycorp.example]}
---
kind: Scope
name: dots
rules:
  - servers: [a, nosecret]
    tools: [a.b, "(x+)+y", "[a-z]*"]
---
kind: Scope
name: corp-only
rules:
  - servers: [onlycorp]
    tools: [get_forecast]
`

// TestCatalogue is the catalogue of bugs that other gateways, MCP libraries
// and Envoys had, as requests through this one: what is refused, by which rule,
// and that the upstream got nothing, or exactly what was authorised.
// docs/security-tests.md is made from its outcome.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	c := &catalogue{table: startTable(t), want: map[string]int{}}
	c.forger = newForger(c)
	c.apply(fmt.Sprintf(catalogueDocuments, c.upstream.url("")))

	known := testNames(t)
	seen := map[string]bool{}
	for _, a := range slices.Concat(messageAdvisories(), pathAdvisories(), tokenAdvisories(c), controlAdvisories()) {
		if seen[a.key()] {
			t.Errorf("%s is there twice", a.key())
		}
		seen[a.key()] = true
		t.Run(a.key(), func(t *testing.T) { c.hold(t, a, known) })
	}
	c.checkNoOthers(t, c.want)
}

// hold runs one advisory, and says in attributes what it did.
func (c *catalogue) hold(t *testing.T, a advisory, known map[string]bool) {
	rows := slices.Clone(a.rows)
	for _, r := range a.rows {
		if over, ok := over2(r); ok {
			rows = append(rows, over)
		}
	}
	if len(rows)+len(a.run)+len(a.tests) == 0 && a.outside == "" && a.missing == "" {
		t.Error("nothing holds this")
	}
	for _, name := range a.tests {
		if !known[name] {
			t.Errorf("no test %s", name)
		}
	}
	outcomes := map[string]int{}
	sending := make([]*sending, len(rows))
	for i, r := range rows {
		sending[i] = c.sendRow(r)
		outcomes[r.want.outcome()]++
	}
	for _, s := range sending {
		version := "HTTP1"
		if s.http1 == "" {
			version = "HTTP2"
		}
		t.Run(version+" "+s.name, func(t *testing.T) { c.check(t, s) })
	}
	for _, at := range a.run {
		outcomes[at.outcome]++
		t.Run(at.name, func(t *testing.T) { at.run(t, c) })
	}
	t.Attr("section", a.section)
	t.Attr("ids", a.ids)
	t.Attr("bug", a.bug)
	t.Attr("requests", strconv.Itoa(len(rows)))
	t.Attr("attacks", strconv.Itoa(len(a.run)))
	t.Attr("outcomes", counted(outcomes))
	t.Attr("tests", strings.Join(a.tests, " "))
	t.Attr("outside", a.outside)
	t.Attr("missing", a.missing)
	if len(rows) > 0 {
		t.Attr("bytes", rows[0].odd())
	}
}

// sendRow sends a row under a number of its own.
func (c *catalogue) sendRow(r row) *sending {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := fmt.Sprintf("row-%d", c.sent)
	c.sent++
	if r.want.upstream != "" {
		c.want[id] = 1
	}
	return c.send(r, id)
}

// try sends a row and checks it, within an attack.
func (c *catalogue) try(t *testing.T, r row) {
	t.Helper()
	c.check(t, c.sendRow(r))
}

// counted lists outcomes and how often each is expected.
func counted(outcomes map[string]int) string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(outcomes)) {
		list = append(list, fmt.Sprintf("%s × %d", k, outcomes[k]))
	}
	return strings.Join(list, "; ")
}

// outcome is what the verdict is called in the document.
func (v verdict) outcome() string {
	switch {
	case v.upstream != "":
		return "harmless"
	case v.status == 0:
		return "Envoy: reset"
	case v.rule == "" && v.status < 300:
		return fmt.Sprintf("harmless %d", v.status)
	case v.rule == "":
		return fmt.Sprintf("Envoy: %d", v.status)
	}
	return fmt.Sprintf("%d %s", v.status, v.rule)
}

// odd is what of a row differs from the good call, quoted, or the name of the
// row where that is in a token.
func (r row) odd() string {
	if r.token != "" || len(r.claims) > 0 {
		return r.name
	}
	const limit = 110
	usual := strings.Split(post1("/a/mcp"), "\r\n")
	var parts []string
	for line := range strings.SplitSeq(strings.TrimSuffix(r.http1, "\r\n\r\n"), "\r\n") {
		if r.http1 != "" && !slices.Contains(usual, line) {
			parts = append(parts, line)
		}
	}
	good := post2("/a/mcp").fields
	for _, f := range r.http2.fields {
		if !slices.Contains(good, f) {
			parts = append(parts, f.name+": "+f.value)
		}
	}
	if r.body != goodCall && r.body != "" {
		parts = append(parts, r.body)
	}
	text := strconv.QuoteToASCII(strings.Join(parts, " | "))
	if len(text) > limit {
		text = text[:limit] + `…"`
	}
	return text
}

// pick takes the rows of other tests whose names hold one of the texts. One
// that no row holds fails, so that a renamed row is not lost.
func pick(rows []row, texts ...string) []row {
	var out []row
	used := map[string]bool{}
	for _, r := range rows {
		fits := false
		for _, text := range texts {
			if strings.Contains(r.name, text) {
				used[text], fits = true, true
			}
		}
		if fits {
			out = append(out, r)
		}
	}
	for _, text := range texts {
		if !used[text] {
			out = append(out, row{name: "no row is named " + text, http1: "none", want: verdict{status: -1}})
		}
	}
	return out
}

// plainHeader is a header line that means the same in both versions of HTTP.
var plainHeader = regexp.MustCompile(`^[!#$%&'*+.^|~0-9A-Za-z-]+: ?[\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff]$`) //nolint:gochecknoglobals // a constant

// over2 is a row of HTTP/1.1 over HTTP/2, if nothing in it is about HTTP/1.1.
func over2(r row) (row, bool) {
	head, rest, ok := strings.Cut(r.http1, "\r\n\r\n")
	// A header block is sent in one frame.
	if !ok || rest != "" || r.tail != "" || len(r.token) > 15<<10 {
		return r, false
	}
	lines := strings.Split(head, "\r\n")
	verb, target, ok := strings.Cut(strings.TrimSuffix(lines[0], " HTTP/1.1"), " ")
	if !ok || !strings.HasSuffix(lines[0], " HTTP/1.1") || verb == "CONNECT" || !strings.HasPrefix(target, "/") || strings.ContainsFunc(target, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return r, false
	}
	lengths := 0
	fields := []field{{":method", verb}, {":scheme", "http"}, {":authority", ""}, {":path", target}}
	for _, line := range lines[1:] {
		if !plainHeader.MatchString(line) {
			return r, false
		}
		name, value, _ := strings.Cut(line, ":")
		name, value = strings.ToLower(name), strings.TrimSpace(value)
		switch name {
		case "connection", "upgrade", "te", "transfer-encoding", "http2-settings", "expect":
			return r, false
		case "host":
			if fields[2].value != "" || strings.ContainsAny(value, "@ ") {
				return r, false
			}
			fields[2].value = value
			continue
		case "content-length":
			if value != "{length}" || lengths > 0 {
				return r, false
			}
			lengths++
			continue
		}
		fields = append(fields, field{name, value})
	}
	if fields[2].value == "" {
		return r, false
	}
	r.http1, r.http2 = "", frames{fields: fields, endInHeaders: r.body == ""}
	r.want.closed = false
	return r, true
}

// testNames are all tests of the module.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)`)
	root := filepath.Join("..", "..", "..")
	for _, top := range []string{"registry", "extauthz", "xds", "envoy", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range declared.FindAllSubmatch(text, -1) {
				names[string(m[1])] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}
