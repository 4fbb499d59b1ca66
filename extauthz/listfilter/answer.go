package listfilter

import (
	"fmt"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

// details marks an ImmediateResponse for the local-reply mapper of the
// listener, which leaves such a body as it is.
const details = "mcpgate_filter"

// maxPiece bounds the body bytes of one message to Envoy.
const maxPiece = 64 << 10

// headers is the answer to response_headers: the session id set, or removed
// when it is empty, and the content type set unless it is empty.
//
// The mutation rules of the listener allow exactly these two headers.
func headers(sessionID, contentType string) *extprocv3.ProcessingResponse {
	mutation := &extprocv3.HeaderMutation{}
	if sessionID == "" {
		mutation.RemoveHeaders = []string{sessionHeader}
	} else {
		mutation.SetHeaders = append(mutation.SetHeaders, overwrite(sessionHeader, sessionID))
	}
	if contentType != "" {
		mutation.SetHeaders = append(mutation.SetHeaders, overwrite("content-type", contentType))
	}
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseHeaders{
		ResponseHeaders: &extprocv3.HeadersResponse{Response: &extprocv3.CommonResponse{HeaderMutation: mutation}},
	}}
}

// overwrite sets a header. ext_proc reads raw_value, other than ext_authz.
func overwrite(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, RawValue: []byte(value)},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

// body is one piece of a FULL_DUPLEX_STREAMED body.
func body(piece []byte, last bool) *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseBody{
		ResponseBody: &extprocv3.BodyResponse{Response: &extprocv3.CommonResponse{
			BodyMutation: &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_StreamedResponse{
				StreamedResponse: &extprocv3.StreamedBodyResponse{Body: piece, EndOfStream: last},
			}},
		}},
	}}
}

// trailers passes the trailers, without a session id in them.
func trailers() *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseTrailers{
		ResponseTrailers: &extprocv3.TrailersResponse{
			HeaderMutation: &extprocv3.HeaderMutation{RemoveHeaders: []string{sessionHeader}},
		},
	}}
}

// immediate replaces the whole reply by a JSON-RPC error. It is the last
// message of a stream.
func immediate(status int, id []byte) *extprocv3.ProcessingResponse {
	if _, ok := typev3.StatusCode_name[int32(status)]; !ok || status < 400 {
		// Envoy takes the statuses of its enum only.
		status = 502
	}
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ImmediateResponse{
		ImmediateResponse: &extprocv3.ImmediateResponse{
			Status:  &typev3.HttpStatus{Code: typev3.StatusCode(status)},
			Headers: &extprocv3.HeaderMutation{SetHeaders: []*corev3.HeaderValueOption{overwrite("content-type", "application/json")}},
			Body:    errorBody(status, id),
			Details: details,
		},
	}}
}

// errorBody is a JSON-RPC error for the request of that id. Its text is fixed:
// nothing of the upstream and nothing internal.
func errorBody(status int, id []byte) []byte {
	code, text := -32603, "The request could not be answered."
	switch status {
	case 404:
		// What the gateway itself says of a session it does not know: a client
		// begins a new one.
		code, text = -32001, "Not found."
	case 429:
		text = "Too many open streams."
	case 502:
		text = "The reply of the server could not be used."
	}
	if id == nil {
		id = []byte("null")
	}
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":%q}}`, id, code, text)
}
