package xds

import (
	"net/http"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// DetailsFilter is the `details` that every ImmediateResponse of the reply
// filter must carry: it keeps the mappers from replacing its body.
const DetailsFilter = "mcpgate_filter"

// JSON-RPC 2.0 error codes, and the one MCP uses for what is not there.
const (
	rpcInternal       = -32603
	rpcInvalidRequest = -32600
	rpcNotFound       = -32001
)

// mapper says what becomes of one group of the answers that Envoy makes
// itself.
type mapper struct {
	when   *accesslogv3.AccessLogFilter
	status int // 0 keeps it
	cors   bool
	retry  bool
	code   int // 0 keeps the body
	text   string
}

// localReplies give every error that Envoy makes a JSON-RPC body. The first
// match wins. No body says why in Envoy's words: those hold addresses and the
// names in certificates.
func localReplies() (*hcmv3.LocalReplyConfig, error) {
	var cel []*accesslogv3.AccessLogFilter
	for _, expression := range []string{
		"response.code_details in ['ext_authz_denied', 'direct_response', 'cors_response']",
		"response.code_details in ['ext_authz_error', 'ext_authz_invalid']",
		"response.code_details == '" + DetailsFilter + "'",
		"xds.route_name == '" + RouteNoDecision + "' && response.code_details in ['no_healthy_upstream', 'cluster_not_found']",
		"response.code_details.startsWith('ext_proc')",
		// upstreamRefusals gives its replies no details.
		"response.code_details == '' && xds.route_name in ['" + RoutePlain + "', '" + RouteInspect + "']",
	} {
		f, err := celFilter(expression)
		if err != nil {
			return nil, err
		}
		cel = append(cel, f)
	}
	const unavailable, gone = http.StatusServiceUnavailable, http.StatusBadGateway
	list := []mapper{
		// The shield: bodies made by the program, and preflight answers.
		{when: cel[0]},
		{when: cel[1], status: unavailable, cors: true, retry: true, code: rpcInternal, text: "authorization service unavailable"},
		// The reply filter's refusals go past the cors filter.
		{when: cel[2], cors: true},
		{when: cel[3], status: unavailable, cors: true, retry: true, code: rpcInternal, text: "no authorization decision for this server"},
		{when: cel[5], status: gone, cors: true, code: rpcInternal, text: "MCP server refused the gateway"},
		{when: flags("NR"), cors: true, code: rpcNotFound, text: "no such MCP server"},
		{when: status(accesslogv3.ComparisonFilter_EQ, 413, "unused.a"), cors: true, code: rpcInvalidRequest, text: "request body too large"},
		{when: cel[4], status: gone, cors: true, code: rpcInternal, text: "reply filter unavailable"},
		{when: status(accesslogv3.ComparisonFilter_EQ, 504, "unused.c"), cors: true, code: rpcInternal, text: "MCP server timeout"},
		{when: flags("UF", "UH", "UC", "UR", "URX", "LR", "UPE"), status: gone, cors: true, code: rpcInternal, text: "MCP server unavailable"},
		{when: status(accesslogv3.ComparisonFilter_GE, 500, "unused.d"), cors: true, retry: true, code: rpcInternal, text: "gateway error"},
		{when: status(accesslogv3.ComparisonFilter_GE, 400, "unused.b"), cors: true, code: rpcInvalidRequest, text: "request refused"},
	}
	out := &hcmv3.LocalReplyConfig{}
	for _, m := range list {
		out.Mappers = append(out.Mappers, m.build())
	}
	return out, nil
}

// build is the mapper as a message.
func (m mapper) build() *hcmv3.ResponseMapper {
	out := &hcmv3.ResponseMapper{Filter: m.when}
	if m.status != 0 {
		out.StatusCode = wrapperspb.UInt32(uint32(m.status))
	}
	if m.cors {
		out.HeadersToAdd = append(out.HeadersToAdd,
			header("access-control-allow-origin", "*", corev3.HeaderValueOption_ADD_IF_ABSENT),
			header("access-control-expose-headers", exposedHeaders, corev3.HeaderValueOption_ADD_IF_ABSENT),
			// What Envoy refuses before it has read the header has no id yet.
			// Where there is one, Envoy writes it over this.
			header("x-request-id", "%UNIQUE_ID%", corev3.HeaderValueOption_ADD_IF_ABSENT))
	}
	if m.retry {
		out.HeadersToAdd = append(out.HeadersToAdd, header("retry-after", "1", corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
	}
	if m.code != 0 {
		out.BodyFormatOverride = &corev3.SubstitutionFormatString{
			ContentType: "application/json",
			Format:      &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: rpcError(m.code, m.text)},
		}
	}
	return out
}

// rpcError is a JSON-RPC 2.0 error object without a request id.
func rpcError(code int, message string) *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		"jsonrpc": structpb.NewStringValue("2.0"),
		"id":      structpb.NewNullValue(),
		"error": structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
			"code":    structpb.NewNumberValue(float64(code)),
			"message": structpb.NewStringValue(message),
		}}),
	}}
}

// celFilter selects replies by an expression. An attribute that is absent
// makes the expression not match.
func celFilter(expression string) (*accesslogv3.AccessLogFilter, error) {
	config, err := pack(&celv3.ExpressionFilter{Expression: expression})
	if err != nil {
		return nil, err
	}
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ExtensionFilter{
		ExtensionFilter: &accesslogv3.ExtensionFilter{
			Name:       "cel",
			ConfigType: &accesslogv3.ExtensionFilter_TypedConfig{TypedConfig: config},
		},
	}}, nil
}

// flags selects replies by response flag.
func flags(names ...string) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ResponseFlagFilter{
		ResponseFlagFilter: &accesslogv3.ResponseFlagFilter{Flags: names},
	}}
}

// status selects replies by status code. Envoy demands a runtime key; nothing
// sets it.
func status(op accesslogv3.ComparisonFilter_Op, code uint32, runtimeKey string) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_StatusCodeFilter{
		StatusCodeFilter: &accesslogv3.StatusCodeFilter{Comparison: &accesslogv3.ComparisonFilter{
			Op:    op,
			Value: &corev3.RuntimeUInt32{DefaultValue: code, RuntimeKey: runtimeKey},
		}},
	}}
}
