package xds

import (
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filelogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	streamlogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	bufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/buffer/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// timeoutHeader matches the request header by which ext_authz bounds a reply.
// Envoy's router takes it off the request, and a client's own is stripped
// before anything reads it.
const timeoutHeader = "^x-envoy-upstream-rq-timeout-ms$"

// procMessageTimeout bounds the reply filter's answer to one message.
const procMessageTimeout = time.Second

// httpFilters are the filters in the order of the request. Nothing after
// ext_authz may change the route, and no filter may be disabled by a route
// that a request can start on: ext_proc would then be missing for good.
func httpFilters(cfg Config) ([]*hcmv3.HttpFilter, error) {
	limit, err := cfg.maxRequestBytes()
	if err != nil {
		return nil, err
	}
	timeout, err := cfg.authzTimeout()
	if err != nil {
		return nil, err
	}
	refusals, err := upstreamRefusals()
	if err != nil {
		return nil, err
	}
	list := []struct {
		name   string
		config proto.Message
	}{
		{filterCORS, &corsv3.Cors{}},
		{filterHeaderMutation, headerMutations()},
		// Before ext_authz: without it the last HTTP/2 frame may show
		// ext_authz a truncated body.
		{filterBuffer, &bufferv3.Buffer{MaxRequestBytes: wrapperspb.UInt32(limit)}},
		{filterExtAuthz, extAuthz(limit, timeout)},
		{filterExtProc, extProc()},
		{filterCustomResponse, refusals},
		// Otherwise the upstream learns the public path.
		{filterRouter, &routerv3.Router{SuppressEnvoyHeaders: true}},
	}
	out := make([]*hcmv3.HttpFilter, 0, len(list))
	for _, f := range list {
		config, err := pack(f.config)
		if err != nil {
			return nil, err
		}
		out = append(out, &hcmv3.HttpFilter{Name: f.name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: config}})
	}
	return out, nil
}

// hiddenResponseHeaders are the headers of an upstream's reply that must not
// reach the client: they would act on the gateway's own origin (cookies,
// redirects, policies, alternative services), or speak of the upstream's
// software. Server is not among them: Envoy writes its own.
var hiddenResponseHeaders = [...]string{
	"set-cookie",
	"location",
	"content-security-policy",
	"x-powered-by",
	"alt-svc",
	"clear-site-data",
	"strict-transport-security",
	"access-control-allow-credentials",
}

// headerMutations removes all request trailers: ext_authz never sees them, an
// HTTP/2 upstream would. In replies it removes the hidden headers and completes
// the cors filter, which does not say that an answer depends on the origin, and
// cannot allow the headers of tools by their names: an allowed origin's
// preflight gets those it asked for.
func headerMutations() *headermutationv3.HeaderMutation {
	set := func(h *corev3.HeaderValueOption) *mutationv3.HeaderMutation {
		return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Append{Append: h}}
	}
	var replies []*mutationv3.HeaderMutation
	for _, h := range hiddenResponseHeaders {
		replies = append(replies, &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Remove{Remove: h}})
	}
	replies = append(replies,
		set(header("vary", "Origin", corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD)),
		set(header("access-control-allow-headers", "%REQ(ACCESS-CONTROL-REQUEST-HEADERS)%", corev3.HeaderValueOption_OVERWRITE_IF_EXISTS)))
	return &headermutationv3.HeaderMutation{Mutations: &headermutationv3.Mutations{
		RequestTrailersMutations: []*mutationv3.HeaderMutation{{Action: &mutationv3.HeaderMutation_RemoveOnMatch_{
			RemoveOnMatch: &mutationv3.HeaderMutation_RemoveOnMatch{KeyMatcher: &matcherv3.StringMatcher{
				MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: ".*"}},
			}},
		}}},
		ResponseMutations: replies,
	}}
}

// extAuthz asks the program about every request. Its failure is a 503.
func extAuthz(limit uint32, timeout time.Duration) *extauthzv3.ExtAuthz {
	return &extauthzv3.ExtAuthz{
		TransportApiVersion: corev3.ApiVersion_V3,
		Services: &extauthzv3.ExtAuthz_GrpcService{GrpcService: &corev3.GrpcService{
			TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: ClusterAuthz}},
			Timeout:         duration(timeout),
		}},
		WithRequestBody: &extauthzv3.BufferSettings{
			MaxRequestBytes:     limit + authzBodySlack,
			AllowPartialMessage: false,
			PackAsBytes:         true,
		},
		// Otherwise duplicates arrive joined and foreign bytes replaced, while
		// the upstream would get the originals.
		EncodeRawHeaders:  true,
		ValidateMutations: true,
		// An allow changes one header, which is what moves the request off the
		// dead end.
		ClearRouteCache: true,
		DecoderHeaderMutationRules: &mutationv3.HeaderMutationRules{
			DisallowSystem:  wrapperspb.Bool(true),
			DisallowIsError: wrapperspb.Bool(true),
			// The one header of Envoy's own that an allow sets: no reply may take
			// longer than the token is good for.
			AllowExpression: &matcherv3.RegexMatcher{Regex: timeoutHeader},
		},
		StatusOnError:                  &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
		FailureModeAllow:               false,
		RouteMetadataContextNamespaces: []string{MetadataNamespace},
		EmitFilterStateStats:           true,
	}
}

// extProc does nothing unless the route says so. It may change no header but
// the two that binding a session and filtering a list need.
func extProc() *extprocv3.ExternalProcessor {
	return &extprocv3.ExternalProcessor{
		GrpcService: &corev3.GrpcService{
			TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: ClusterProc}},
			// A filtered stream may be as long as any other.
			Timeout: duration(0),
		},
		FailureModeAllow:       false,
		StatusOnError:          &typev3.HttpStatus{Code: typev3.StatusCode_BadGateway},
		MessageTimeout:         duration(procMessageTimeout),
		DisableClearRouteCache: true,
		ProcessingMode: &extprocv3.ProcessingMode{
			RequestHeaderMode:   extprocv3.ProcessingMode_SKIP,
			ResponseHeaderMode:  extprocv3.ProcessingMode_SKIP,
			RequestBodyMode:     extprocv3.ProcessingMode_NONE,
			ResponseBodyMode:    extprocv3.ProcessingMode_NONE,
			RequestTrailerMode:  extprocv3.ProcessingMode_SKIP,
			ResponseTrailerMode: extprocv3.ProcessingMode_SKIP,
		},
		MetadataOptions: &extprocv3.MetadataOptions{
			ForwardingNamespaces: &extprocv3.MetadataOptions_MetadataNamespaces{Untyped: []string{AuthzNamespace}},
		},
		MutationRules: &mutationv3.HeaderMutationRules{
			DisallowAll:     wrapperspb.Bool(true),
			AllowExpression: &matcherv3.RegexMatcher{Regex: "^(mcp-session-id|content-type)$"},
		},
	}
}

// accessLog writes one JSON object for each request, to a file or, for "-", to
// standard output. The query is not logged: a client may have put a token
// there.
func accessLog(path string) ([]*accesslogv3.AccessLog, error) {
	if path == "" {
		return nil, nil
	}
	fields := map[string]*structpb.Value{}
	for k, v := range map[string]string{
		"ts":          "%START_TIME%",
		"request_id":  "%REQ(X-REQUEST-ID)%",
		"http_method": "%REQ(:METHOD)%",
		"path":        "%PATH(NQ)%",
		"code":        "%RESPONSE_CODE%",
		"details":     "%RESPONSE_CODE_DETAILS%",
		"flags":       "%RESPONSE_FLAGS%",
		"route":       "%ROUTE_NAME%",
		"server":      "%METADATA(ROUTE:mcpgate:server)%",
		"method":      "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:method)%",
		"decided":     "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:server)%",
		"cluster":     "%UPSTREAM_CLUSTER%",
		"authz_us":    "%FILTER_STATE(envoy.filters.http.ext_authz:FIELD:latency_us)%",
		"ms":          "%DURATION%",
	} {
		fields[k] = structpb.NewStringValue(v)
	}
	format := &corev3.SubstitutionFormatString{Format: &corev3.SubstitutionFormatString_JsonFormat{
		JsonFormat: &structpb.Struct{Fields: fields},
	}}
	var name string
	var message proto.Message
	if path == "-" {
		name = "envoy.access_loggers.stdout"
		message = &streamlogv3.StdoutAccessLog{AccessLogFormat: &streamlogv3.StdoutAccessLog_LogFormat{LogFormat: format}}
	} else {
		name = "envoy.access_loggers.file"
		message = &filelogv3.FileAccessLog{Path: path, AccessLogFormat: &filelogv3.FileAccessLog_LogFormat{LogFormat: format}}
	}
	config, err := pack(message)
	if err != nil {
		return nil, err
	}
	return []*accesslogv3.AccessLog{{Name: name, ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: config}}}, nil
}
