package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// patience is how long a row waits for an answer. Nothing is decided by it but
// that a test fails.
const patience = 20 * time.Second

// outcome is what came back for a request.
type outcome struct {
	// status is 0 when the stream or the connection ended without an answer;
	// end then says how.
	status int
	end    string
	header http.Header
	body   string
	// closed says that the connection ended after the answer.
	closed bool
}

func dialRaw(address string) (net.Conn, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	c, err := (&net.Dialer{Timeout: patience}).DialContext(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(patience))
}

// exchange1 sends bytes on a connection of their own and reads the answers
// until the peer closes, or all of the number expected have come. The write
// side stays open: for Envoy its end is the end of the request.
func exchange1(address, request string, answers int) []outcome {
	c, err := dialRaw(address)
	if err != nil {
		return []outcome{{end: "no connection: " + err.Error()}}
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		// A refused request need not be read to its end.
		_, _ = io.WriteString(c, request)
	}()
	br := bufio.NewReader(c)
	verb, _, _ := strings.Cut(request, " ")
	var out []outcome
	for len(out) < answers {
		o, err := readAnswer(br, verb)
		if err != nil {
			out = append(out, outcome{end: err.Error()})
			break
		}
		out = append(out, o)
	}
	_ = c.Close()
	<-written
	return out
}

func readAnswer(br *bufio.Reader, verb string) (outcome, error) {
	resp, err := http.ReadResponse(br, &http.Request{Method: verb})
	if err != nil {
		return outcome{}, err
	}
	if resp.StatusCode == http.StatusContinue {
		return readAnswer(br, verb)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return outcome{}, err
	}
	if err := resp.Body.Close(); err != nil {
		return outcome{}, err
	}
	return outcome{status: resp.StatusCode, header: resp.Header, body: string(body), closed: resp.Close}, nil
}

// frames is a request over HTTP/2 in frames that no library would write.
type frames struct {
	// fields are the header fields, pseudo-header fields included, as they go
	// into the header block.
	fields []field
	data   string
	// trailers end the stream when there are any.
	trailers []field
	// endInHeaders ends the stream with the header block, whatever data is.
	endInHeaders bool
	// frame is the size of a DATA frame; 16384 when zero.
	frame int
	// emptyEnd ends the stream with an empty DATA frame of its own.
	emptyEnd bool
}

// exchange2 sends a request over HTTP/2 without TLS, by prior knowledge.
func exchange2(address string, req frames) outcome {
	c, err := dialRaw(address)
	if err != nil {
		return outcome{end: "no connection: " + err.Error()}
	}
	defer func() { _ = c.Close() }()
	x := &h2conn{framer: http2.NewFramer(c, bufio.NewReader(c)), connWindow: 65535, streamWindow: 65535, window: 65535}
	x.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	x.out.header = http.Header{}
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		return outcome{end: err.Error()}
	}
	if err := x.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 4 << 20}); err != nil {
		return outcome{end: err.Error()}
	}
	// When the peer has ended the connection, why is in what it sent.
	x.sendErr = x.send(req)
	for !x.ended {
		x.read()
	}
	return x.out
}

// h2conn is one stream on one connection.
type h2conn struct {
	framer                           *http2.Framer
	connWindow, streamWindow, window int64
	out                              outcome
	ended                            bool
	sendErr                          error
}

const streamID = 1

func (x *h2conn) send(req frames) error {
	end := req.endInHeaders || req.data == "" && len(req.trailers) == 0 && !req.emptyEnd
	if err := x.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: streamID, BlockFragment: block(req.fields), EndStream: end, EndHeaders: true,
	}); err != nil || end {
		return err
	}
	size := req.frame
	if size == 0 {
		size = 16384
	}
	for data := []byte(req.data); len(data) > 0; {
		n := min(size, len(data))
		for min(x.connWindow, x.streamWindow) < int64(n) {
			if x.read(); x.ended {
				return nil
			}
		}
		last := n == len(data) && len(req.trailers) == 0 && !req.emptyEnd
		if err := x.framer.WriteData(streamID, last, data[:n]); err != nil {
			return err
		}
		x.connWindow -= int64(n)
		x.streamWindow -= int64(n)
		data = data[n:]
	}
	switch {
	case len(req.trailers) > 0:
		return x.framer.WriteHeaders(http2.HeadersFrameParam{
			StreamID: streamID, BlockFragment: block(req.trailers), EndStream: true, EndHeaders: true,
		})
	case req.emptyEnd:
		return x.framer.WriteData(streamID, true, nil)
	}
	return nil
}

// block is a header block of literals without indexing or Huffman coding, so
// that every byte is sent as it is.
func block(fields []field) []byte {
	var b []byte
	str := func(s string) {
		b = hpackInt(b, 0, 7, uint64(len(s)))
		b = append(b, s...)
	}
	for _, f := range fields {
		b = append(b, 0) // RFC 7541 section 6.2.2, new name
		str(f.name)
		str(f.value)
	}
	return b
}

// hpackInt is RFC 7541 section 5.1.
func hpackInt(b []byte, first byte, prefix uint, n uint64) []byte {
	limit := uint64(1)<<prefix - 1
	if n < limit {
		return append(b, first|byte(n))
	}
	b = append(b, first|byte(limit))
	for n -= limit; n >= 128; n >>= 7 {
		b = append(b, byte(n&127|128))
	}
	return append(b, byte(n))
}

// read takes one frame.
func (x *h2conn) read() {
	f, err := x.framer.ReadFrame()
	if err != nil {
		x.finish("closed: " + err.Error())
		return
	}
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return
		}
		if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
			x.streamWindow += int64(v) - x.window
			x.window = int64(v)
		}
		if err := x.framer.WriteSettingsAck(); err != nil {
			x.sendErr = err
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			x.connWindow += int64(f.Increment)
		} else {
			x.streamWindow += int64(f.Increment)
		}
	case *http2.PingFrame:
		if err := x.framer.WritePing(true, f.Data); err != nil {
			x.sendErr = err
		}
	case *http2.MetaHeadersFrame:
		for _, h := range f.Fields {
			if h.Name == ":status" {
				x.out.status, err = strconv.Atoi(h.Value)
				if err != nil {
					x.finish("status " + h.Value)
				}
				continue
			}
			x.out.header.Add(h.Name, h.Value)
		}
		if f.StreamEnded() {
			x.finish("")
		}
	case *http2.DataFrame:
		x.out.body += string(f.Data())
		if f.StreamEnded() {
			x.finish("")
		}
	case *http2.RSTStreamFrame:
		x.finish("reset: " + f.ErrCode.String())
	case *http2.GoAwayFrame:
		x.finish("goaway: " + f.ErrCode.String())
	}
}

// finish notes the end. A reset after a whole answer only says that the rest
// of the request is not wanted.
func (x *h2conn) finish(end string) {
	if x.ended {
		return
	}
	x.ended = true
	x.out.end = end
	if end != "" {
		x.out.status = 0
	}
}

// checkRefusal checks what every refusal has in common (design §6).
func checkRefusal(t testing.TB, o outcome) {
	t.Helper()
	if ct := o.header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("refusal %d has content-type %q", o.status, ct)
	}
	if id := o.header.Values("X-Request-Id"); len(id) != 1 || len(id[0]) != 36 {
		t.Errorf("refusal %d has x-request-id %q", o.status, id)
	}
	var msg struct {
		JSONRPC string `json:"jsonrpc"`
		ID      any    `json:"id"`
		Error   *struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	dec := json.NewDecoder(strings.NewReader(o.body))
	if err := dec.Decode(&msg); err != nil || msg.JSONRPC != "2.0" || msg.Error == nil || msg.Error.Code >= -32000 || msg.Error.Message == "" {
		t.Errorf("refusal %d has no JSON-RPC error: %q", o.status, o.body)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		t.Errorf("refusal %d has more than one JSON value: %q", o.status, o.body)
	}
	checkNoInternals(t, o)
}

// checkNoInternals looks for what must never be on the wire: addresses, paths
// of sockets, words of Envoy, Go and gRPC.
func checkNoInternals(t testing.TB, o outcome) {
	t.Helper()
	all := bytes.NewBufferString(o.body)
	for k, v := range o.header {
		fmt.Fprintf(all, "\n%s: %s", k, v)
	}
	text := strings.ToLower(all.String())
	for _, word := range []string{
		".sock", "/tmp/", "remote_address", "upstream connect", "goroutine", "rpc error", "grpc", "envoy", "ext_authz", "ext_proc",
		"panic", ".go:", "reset reason", "delayed_connect", "no healthy", "route_not_found",
	} {
		if strings.Contains(text, word) {
			t.Errorf("answer %d says %q: %s", o.status, word, all)
		}
	}
}
