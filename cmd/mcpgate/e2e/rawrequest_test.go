package e2e_test

import (
	"slices"
	"strings"
)

// request1 is a request in HTTP/1.1 with the header of a good one. An edit
// "-Name" takes a line away, any other is a line put at the end.
func request1(verb, target string, edits ...string) string {
	lines := []string{"Host: gw.test", "X-Case: {case}", "Authorization: Bearer {token}", "Accept: application/json, text/event-stream"}
	if verb == "POST" {
		lines = append(lines, "Content-Type: application/json", "Content-Length: {length}")
	}
	for _, e := range edits {
		if name, ok := strings.CutPrefix(e, "-"); ok {
			lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, name+":") })
			continue
		}
		lines = append(lines, e)
	}
	return verb + " " + target + " HTTP/1.1\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

func post1(target string, edits ...string) string { return request1("POST", target, edits...) }

// request2 is a request in HTTP/2 with the header of a good one, and the same
// edits, "name: value".
func request2(verb, path string, edits ...string) frames {
	fields := []field{
		{":method", verb},
		{":scheme", "http"},
		{":authority", "gw.test"},
		{":path", path},
		{"x-case", "{case}"},
		{"authorization", "Bearer {token}"},
		{"accept", "application/json, text/event-stream"},
	}
	if verb == "POST" {
		fields = append(fields, field{"content-type", "application/json"})
	}
	for _, e := range edits {
		if name, ok := strings.CutPrefix(e, "-"); ok {
			fields = slices.DeleteFunc(fields, func(f field) bool { return f.name == name })
			continue
		}
		i := strings.Index(e[1:], ":") + 1
		f := field{e[:i], strings.TrimPrefix(e[i+1:], " ")}
		if at := slices.IndexFunc(fields, func(f field) bool { return !strings.HasPrefix(f.name, ":") }); strings.HasPrefix(f.name, ":") {
			fields = slices.Insert(fields, at, f)
			continue
		}
		fields = append(fields, f)
	}
	return frames{fields: fields}
}

func post2(path string, edits ...string) frames { return request2("POST", path, edits...) }

// allowed is the verdict on a good call of the tool that every caller has.
func allowed(server, upstream string) verdict {
	return verdict{status: 200, rule: "granted", server: server, method: "tools/call", target: "get_forecast", upstream: upstream}
}

// refused is the verdict of authz on server a.
func refused(status int, rule string) verdict { return verdict{status: status, rule: rule} }

// unasked is the verdict of Envoy alone.
func unasked(status int) verdict { return verdict{status: status} }

// goodCall is what allowed expects.
const goodCall = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_forecast","arguments":{"place":"Oslo"}}}`
