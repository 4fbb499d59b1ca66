package listfilter

import (
	"mime"
	"slices"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// reply is the header part of a reply.
type reply struct {
	status int
	body   bodyType
	// encoded is true if there is any Content-Encoding.
	encoded bool
	// sessionIDs are the values of Mcp-Session-Id.
	sessionIDs []string
}

// bodyType is what Content-Type says of a body.
type bodyType uint8

const (
	otherBody bodyType = iota
	jsonBody
	eventBody
)

// sessionHeader is Mcp-Session-Id as Envoy writes it.
const sessionHeader = "mcp-session-id"

// readReply reads the headers that Envoy shows of a reply.
func readReply(headers *corev3.HeaderMap) reply {
	var r reply
	var statuses, types []string
	for _, h := range headers.GetHeaders() {
		value := h.GetValue()
		if raw := h.GetRawValue(); len(raw) > 0 {
			value = string(raw)
		}
		switch strings.ToLower(h.GetKey()) {
		case ":status":
			statuses = append(statuses, value)
		case "content-type":
			types = append(types, value)
		case "content-encoding":
			r.encoded = true
		case sessionHeader:
			r.sessionIDs = append(r.sessionIDs, value)
		}
	}
	if len(statuses) == 1 {
		r.status, _ = strconv.Atoi(statuses[0])
	}
	if len(types) == 1 {
		r.body = readBodyType(types[0])
	}
	return r
}

func readBodyType(value string) bodyType {
	mediaType, params, err := mime.ParseMediaType(value)
	if err != nil {
		return otherBody
	}
	// A client would read the bytes in another charset, and see other text.
	charset, ok := params["charset"]
	if ok && !slices.Contains([]string{"utf-8", "utf8", "us-ascii"}, strings.ToLower(charset)) {
		return otherBody
	}
	switch mediaType {
	case "application/json":
		return jsonBody
	case "text/event-stream":
		return eventBody
	}
	return otherBody
}

// isEmpty is true for the statuses that mean "accepted, nothing to say". A body
// may all the same be announced (chunked, without a byte): the status counts.
func (r reply) isEmpty() bool { return r.status == 202 || r.status == 204 }

// isError is true for a reply whose status says that something is wrong.
func (r reply) isError() bool { return r.status >= 400 && r.status <= 599 }

// isForeign is true for a status that must not come from an upstream: a client
// would take 401, 403 and 407 for the gateway's own challenge, and follow a
// redirect around the gateway. With forwarded, the challenge is about the
// client's own token, which the operator chose to pass on.
func (r reply) isForeign(forwarded bool) bool {
	switch r.status {
	case 401, 403, 407:
		return !forwarded
	}
	return r.status < 200 || r.status > 599 || r.status >= 300 && r.status <= 399
}
