package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// caseHeader marks the requests of a row, from the client to the upstream.
const caseHeader = "x-case"

// seen is a request as the upstream got it, byte for byte.
type seen struct {
	method, target string
	// fields are the header lines in order, names as sent.
	fields []field
	body   string
	// trailers are the lines after the last chunk.
	trailers []field
}

// field is one header line.
type field struct{ name, value string }

// values are the values of a header, in order. The name is in lower case.
func (s seen) values(name string) []string {
	var out []string
	for _, f := range s.fields {
		if strings.EqualFold(f.name, name) {
			out = append(out, f.value)
		}
	}
	return out
}

// one is the value of a header that is there once, or says what is there
// instead.
func (s seen) one(name string) string {
	switch v := s.values(name); len(v) {
	case 0:
		return "(absent)"
	case 1:
		return v[0]
	default:
		return fmt.Sprintf("%q", v)
	}
}

// recorder is an upstream on a raw socket. It reads HTTP/1.1 with no library
// in between, keeps what it got by row, and answers 200 with JSON.
type recorder struct {
	testing.TB
	address string

	mu    sync.Mutex
	seen  map[string][]seen
	conns map[net.Conn]struct{}
	// answer, when set, may answer a request in its own way: it reports whether
	// it has.
	answer func(net.Conn, seen) bool
	done   sync.WaitGroup
}

// record starts an upstream that lives as long as the test.
func record(t testing.TB) *recorder {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{TB: t, address: l.Addr().String(), seen: map[string][]seen{}, conns: map[net.Conn]struct{}{}}
	r.done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.conns[c] = struct{}{}
			r.mu.Unlock()
			r.done.Go(func() { r.serve(c) })
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		for c := range r.conns {
			_ = c.Close()
		}
		r.mu.Unlock()
		r.done.Wait()
	})
	return r
}

// answerBy sets the function that may answer in its own way.
func (r *recorder) answerBy(f func(net.Conn, seen) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

// url is an upstream URL of the recorder.
func (r *recorder) url(path string) string { return "http://" + r.address + path }

// of returns what arrived for a row. Requests without a row, which nobody
// sent, are those of "".
func (r *recorder) of(row string) []seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]seen(nil), r.seen[row]...)
}

// rows are the rows that something arrived for, and how often.
func (r *recorder) rows() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]int, len(r.seen))
	for k, v := range r.seen {
		out[k] = len(v)
	}
	return out
}

// count is the number of all requests so far.
func (r *recorder) count() int {
	n := 0
	for _, c := range r.rows() {
		n += c
	}
	return n
}

func (r *recorder) serve(c net.Conn) {
	defer func() {
		_ = c.Close()
		r.mu.Lock()
		delete(r.conns, c)
		r.mu.Unlock()
	}()
	br := bufio.NewReaderSize(c, 64<<10)
	for {
		s, err := readSeen(br)
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// What is no request is the worst a gateway can send: it must show.
			s.target = "unreadable: " + err.Error()
		}
		row := strings.Join(s.values(caseHeader), ",")
		r.mu.Lock()
		r.seen[row] = append(r.seen[row], s)
		answer := r.answer
		r.mu.Unlock()
		if err != nil {
			return
		}
		if answer != nil && answer(c, s) {
			continue
		}
		if _, err := io.WriteString(c, reply(s)); err != nil {
			return
		}
	}
}

// reply is the answer of a small MCP server.
func reply(s seen) string {
	body := `{"jsonrpc":"2.0","id":1,"result":{"upstream":true}}`
	if strings.Contains(s.body, `"tools/list"`) {
		body = `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"get_forecast"},{"name":"secret_tool"}]}}`
	}
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// readSeen reads one request. io.EOF means that the connection ended before
// its first byte.
func readSeen(br *bufio.Reader) (s seen, err error) {
	line, err := br.ReadString('\n')
	if err != nil {
		if line == "" {
			return s, io.EOF
		}
		return s, fmt.Errorf("request line %q: %w", line, err)
	}
	parts := strings.SplitN(strings.TrimSuffix(line, "\r\n"), " ", 3)
	if len(parts) != 3 || parts[2] != "HTTP/1.1" {
		return s, fmt.Errorf("request line %q", line)
	}
	s.method, s.target = parts[0], parts[1]
	if s.fields, err = readFields(br); err != nil {
		return s, err
	}
	lengths, encodings := s.values("content-length"), s.values("transfer-encoding")
	switch {
	case len(lengths) == 0 && len(encodings) == 0:
		return s, nil
	case len(lengths)+len(encodings) > 1:
		return s, fmt.Errorf("content-length %q, transfer-encoding %q", lengths, encodings)
	case len(encodings) == 1:
		if encodings[0] != "chunked" {
			return s, fmt.Errorf("transfer-encoding %q", encodings)
		}
		s.body, err = readChunks(br)
		if err == nil {
			s.trailers, err = readFields(br)
		}
		return s, err
	}
	n, err := strconv.ParseUint(lengths[0], 10, 32)
	if err != nil {
		return s, err
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(br, body); err != nil {
		return s, fmt.Errorf("body of %d bytes: %w", n, err)
	}
	s.body = string(body)
	return s, nil
}

// readFields reads lines up to an empty one.
func readFields(br *bufio.Reader) ([]field, error) {
	var out []field
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return out, fmt.Errorf("header %q: %w", line, err)
		}
		line = strings.TrimSuffix(line, "\r\n")
		if line == "" {
			return out, nil
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.ContainsAny(line, "\r\n") {
			return out, fmt.Errorf("header line %q", line)
		}
		out = append(out, field{name, strings.TrimPrefix(value, " ")})
	}
}

// readChunks reads a chunked body up to its last chunk.
func readChunks(br *bufio.Reader) (string, error) {
	var body bytes.Buffer
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("chunk size %q: %w", line, err)
		}
		n, err := strconv.ParseUint(strings.TrimSuffix(line, "\r\n"), 16, 32)
		if err != nil {
			return "", err
		}
		if n == 0 {
			return body.String(), nil
		}
		if _, err := io.CopyN(&body, br, int64(n)); err != nil {
			return "", err
		}
		if _, err := br.Discard(len("\r\n")); err != nil {
			return "", err
		}
	}
}
