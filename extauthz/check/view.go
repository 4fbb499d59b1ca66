package check

// view is what the gateway needs of a CheckRequest. It owns its memory: the
// bytes it was read from are gone when the handler runs.
type view struct {
	// verb and path are the HTTP method and the normalised path with query.
	verb, path string
	// size is the length of the body as Envoy counted it, body what was sent.
	size int64
	body []byte
	// hasHeaderMap tells a request without headers of interest from an Envoy
	// that does not send raw headers (ext_authz encode_raw_headers off).
	hasHeaderMap bool
	headers      [numHeaders]header
	// server and generation are the mcpgate metadata of the route; generation
	// is 0 when it is not a positive integer.
	server     string
	generation int64
}

// header is a request header of interest.
type header struct {
	// value of its first occurrence.
	value string
	// count of its occurrences. Envoy joins the duplicates of some headers
	// with a comma: count is 1 then, too.
	count int
}

// The request headers of interest.
const (
	hAuthorization = iota
	hContentType
	hContentEncoding
	hOrigin
	hMCPMethod
	hMCPName
	hMCPProtocolVersion
	hMCPSessionID
	hPartialBody
	hRequestID
	numHeaders
)

// headerIndex is the index of a header of interest, or -1. Envoy sends the
// names in lower case.
func headerIndex(name []byte) int {
	switch string(name) {
	case "authorization":
		return hAuthorization
	case "content-type":
		return hContentType
	case "content-encoding":
		return hContentEncoding
	case "origin":
		return hOrigin
	case "mcp-method":
		return hMCPMethod
	case "mcp-name":
		return hMCPName
	case "mcp-protocol-version":
		return hMCPProtocolVersion
	case "mcp-session-id":
		return hMCPSessionID
	case "x-envoy-auth-partial-body":
		return hPartialBody
	case "x-request-id":
		return hRequestID
	}
	return -1
}
