package check

import (
	"bytes"
	"math"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// viewOf is the view that a parsed CheckRequest must give.
func viewOf(r *authv3.CheckRequest) view {
	h := r.GetAttributes().GetRequest().GetHttp()
	v := view{verb: h.GetMethod(), path: h.GetPath(), size: h.GetSize(), body: h.GetRawBody(), hasHeaderMap: h.GetHeaderMap() != nil}
	for _, hv := range h.GetHeaderMap().GetHeaders() {
		if i := headerIndex([]byte(hv.GetKey())); i >= 0 {
			if v.headers[i].count++; v.headers[i].count == 1 {
				v.headers[i].value = string(hv.GetRawValue())
			}
		}
	}
	fields := r.GetAttributes().GetRouteMetadataContext().GetFilterMetadata()[metadataNamespace].GetFields()
	v.server = fields["server"].GetStringValue()
	if n := fields["generation"].GetNumberValue(); n >= 1 && n <= maxGeneration && n == math.Trunc(n) {
		v.generation = int64(n)
	}
	return v
}

func diffView(got, want view) string {
	return cmp.Diff(want, got, cmp.AllowUnexported(view{}, header{}), cmp.Comparer(bytes.Equal))
}

// fullRequest has everything that Envoy 1.40 fills in.
func fullRequest() *authv3.CheckRequest {
	raw := func(k, v string) *corev3.HeaderValue { return &corev3.HeaderValue{Key: k, RawValue: []byte(v)} }
	peer := &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
		SocketAddress: &corev3.SocketAddress{Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 40000}},
	}}}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: peer, Destination: peer,
		Request: &authv3.AttributeContext_Request{
			Time: timestamppb.New(timestamppb.Now().AsTime()),
			Http: &authv3.AttributeContext_HttpRequest{
				Id: "123", Method: "POST", Path: "/weather/mcp?a=b", Host: "gw.test", Scheme: "http", Size: 5, Protocol: "HTTP/1.1",
				RawBody: []byte("hello"),
				HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
					raw(":path", "/weather/mcp?a=b"), raw("authorization", "Bearer x"), raw("content-type", "application/json"),
					raw("mcp-name", "one"), raw("mcp-name", "two"), raw("mcp-method", ""), raw("accept", "*/*"),
					raw("x-envoy-auth-partial-body", "false"), raw("x-request-id", "r-1"), raw("origin", "\xff\xfe"),
				}},
			},
		},
		MetadataContext: &corev3.Metadata{},
		RouteMetadataContext: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
			"other": {Fields: map[string]*structpb.Value{"server": structpb.NewStringValue("evil")}},
			"mcpgate": {Fields: map[string]*structpb.Value{
				"server": structpb.NewStringValue("weather"), "generation": structpb.NewNumberValue(3), "rev": structpb.NewNumberValue(17),
			}},
		}},
	}}
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDecodeAgreesWithProto(t *testing.T) {
	t.Parallel()
	edit := func(fn func(*authv3.CheckRequest)) *authv3.CheckRequest { r := fullRequest(); fn(r); return r }
	meta := func(server, generation *structpb.Value) *authv3.CheckRequest {
		return edit(func(r *authv3.CheckRequest) {
			r.Attributes.RouteMetadataContext.FilterMetadata[metadataNamespace] = &structpb.Struct{
				Fields: map[string]*structpb.Value{"server": server, "generation": generation},
			}
		})
	}
	for name, r := range map[string]*authv3.CheckRequest{
		"full":             fullRequest(),
		"empty":            {},
		"no header map":    edit(func(r *authv3.CheckRequest) { r.Attributes.Request.Http.HeaderMap = nil }),
		"empty header map": edit(func(r *authv3.CheckRequest) { r.Attributes.Request.Http.HeaderMap = &corev3.HeaderMap{} }),
		"no metadata":      edit(func(r *authv3.CheckRequest) { r.Attributes.RouteMetadataContext = nil }),
		"negative size":    edit(func(r *authv3.CheckRequest) { r.Attributes.Request.Http.Size = -1 }),
		"server a number":  meta(structpb.NewNumberValue(1), structpb.NewNumberValue(1)),
		"generation text":  meta(structpb.NewStringValue("a"), structpb.NewStringValue("1")),
		"generation half":  meta(structpb.NewStringValue("a"), structpb.NewNumberValue(1.5)),
		"generation 0":     meta(structpb.NewStringValue("a"), structpb.NewNumberValue(0)),
		"generation -1":    meta(structpb.NewStringValue("a"), structpb.NewNumberValue(-1)),
		"generation NaN":   meta(structpb.NewStringValue("a"), structpb.NewNumberValue(math.NaN())),
		"generation Inf":   meta(structpb.NewStringValue("a"), structpb.NewNumberValue(math.Inf(1))),
		"generation 2^53":  meta(structpb.NewStringValue("a"), structpb.NewNumberValue(maxGeneration)),
		"generation list":  meta(structpb.NewStringValue("a"), structpb.NewListValue(&structpb.ListValue{})),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got view
			if err := got.decode(marshal(t, r)); err != nil {
				t.Fatal(err)
			}
			if d := diffView(got, viewOf(r)); d != "" {
				t.Errorf("view differs from proto.Unmarshal (-want +got):\n%s", d)
			}
		})
	}
}

// msg appends a length-delimited field.
func msg(num protowire.Number, parts ...[]byte) []byte {
	b := protowire.AppendTag(nil, num, protowire.BytesType)
	return protowire.AppendBytes(b, bytes.Join(parts, nil))
}

func TestAmbiguousRequestIsRefused(t *testing.T) {
	t.Parallel()
	http := func(parts ...[]byte) []byte {
		return msg(fRequestAttributes, msg(fAttributesRequest, msg(fRequestHTTP, parts...)))
	}
	headers := func(parts ...[]byte) []byte { return http(msg(fHTTPHeaderMap, msg(fHeaderMapHeaders, parts...))) }
	metadata := func(parts ...[]byte) []byte {
		return msg(fRequestAttributes, msg(fAttributesRouteMetadata, msg(fMetadataFilter, msg(fMapKey, []byte("mcpgate")), msg(fMapValue, parts...))))
	}
	server := func(parts ...[]byte) []byte {
		return msg(fStructFields, msg(fMapKey, []byte("server")), msg(fMapValue, parts...))
	}
	varint := func(num protowire.Number) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), 5)
	}
	a := []byte("a")
	entry := msg(fMetadataFilter, msg(fMapKey, []byte("mcpgate")), msg(fMapValue))
	for name, b := range map[string][]byte{
		"garbage":                 []byte("\xff\xff\xff"),
		"truncated":               {0x0a, 0x05, 0x00},
		"attributes twice":        append(msg(fRequestAttributes), msg(fRequestAttributes)...),
		"attributes as number":    varint(fRequestAttributes),
		"request twice":           msg(fRequestAttributes, msg(fAttributesRequest), msg(fAttributesRequest)),
		"http twice":              msg(fRequestAttributes, msg(fAttributesRequest, msg(fRequestHTTP), msg(fRequestHTTP))),
		"method twice":            http(msg(fHTTPMethod, a), msg(fHTTPMethod, a)),
		"method not UTF-8":        http(msg(fHTTPMethod, []byte("\xff"))),
		"path twice":              http(msg(fHTTPPath, a), msg(fHTTPPath, a)),
		"size twice":              http(varint(fHTTPSize), varint(fHTTPSize)),
		"size as text":            http(msg(fHTTPSize, a)),
		"body twice":              http(msg(fHTTPRawBody, a), msg(fHTTPRawBody, a)),
		"header map twice":        http(msg(fHTTPHeaderMap), msg(fHTTPHeaderMap)),
		"header key twice":        headers(msg(fHeaderKey, a), msg(fHeaderKey, a)),
		"header value twice":      headers(msg(fHeaderRawValue, a), msg(fHeaderRawValue, a)),
		"header value not raw":    headers(msg(fHeaderKey, []byte("authorization")), msg(fHeaderValue, a)),
		"header as number":        http(msg(fHTTPHeaderMap, varint(fHeaderMapHeaders))),
		"route metadata twice":    msg(fRequestAttributes, msg(fAttributesRouteMetadata), msg(fAttributesRouteMetadata)),
		"namespace twice":         msg(fRequestAttributes, msg(fAttributesRouteMetadata, entry, entry)),
		"namespace key twice":     msg(fRequestAttributes, msg(fAttributesRouteMetadata, msg(fMetadataFilter, msg(fMapKey, a), msg(fMapKey, []byte("mcpgate"))))),
		"server twice":            metadata(server(msg(fValueString, a)), server(msg(fValueString, a))),
		"server of two kinds":     metadata(server(msg(fValueString, a), varint(4))),
		"server twice in a value": metadata(server(msg(fValueString, a), msg(fValueString, a))),
		"server not UTF-8":        metadata(server(msg(fValueString, []byte("\xff")))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var v view
			if err := v.decode(b); err == nil {
				t.Errorf("decode accepted it: %+v", v)
			}
		})
	}
}

func TestDecodePassesOverUnknownFields(t *testing.T) {
	t.Parallel()
	b := marshal(t, fullRequest())
	b = append(b, msg(99, []byte("later"))...)
	b = append(protowire.AppendVarint(protowire.AppendTag(nil, 70, protowire.VarintType), 1), b...)
	b = protowire.AppendTag(b, 71, protowire.StartGroupType)
	b = append(b, protowire.AppendTag(nil, 71, protowire.EndGroupType)...)
	b = protowire.AppendFixed32(protowire.AppendTag(b, 72, protowire.Fixed32Type), 7)
	var v view
	if err := v.decode(b); err != nil {
		t.Fatal(err)
	}
	if d := diffView(v, viewOf(fullRequest())); d != "" {
		t.Error(d)
	}
}

func TestViewOwnsItsMemory(t *testing.T) {
	t.Parallel()
	b := marshal(t, fullRequest())
	var v view
	if err := v.decode(b); err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] = 'X'
	}
	if d := diffView(v, viewOf(fullRequest())); d != "" {
		t.Errorf("the view changed with its source:\n%s", d)
	}
}

// FuzzDecode: what both readers accept they read alike, and what proto.Unmarshal
// accepts is refused only for being ambiguous.
func FuzzDecode(f *testing.F) {
	f.Add(marshal(f, fullRequest()))
	f.Add([]byte{})
	f.Add(msg(fRequestAttributes, msg(fAttributesRequest, msg(fRequestHTTP, msg(fHTTPMethod, []byte("GET")), msg(fHTTPHeaderMap)))))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v view
		err := v.decode(b)
		var r authv3.CheckRequest
		if protoErr := proto.Unmarshal(b, &r); protoErr != nil || err != nil {
			if err == nil {
				return // the fault is in a field that is not read
			}
			if protoErr == nil {
				// Written anew by the library, each field is there once; what the
				// view still refuses then is an unusual, not a repeated field.
				again := marshal(t, &r)
				var w view
				if err := w.decode(again); err == nil {
					if d := diffView(w, viewOf(&r)); d != "" {
						t.Fatalf("canonical form reads differently:\n%s", d)
					}
				}
			}
			return
		}
		if d := diffView(v, viewOf(&r)); d != "" {
			t.Fatalf("view differs from proto.Unmarshal (-want +got):\n%s", d)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	raw := marshal(b, benchRequest(b, "token"))
	b.Run("view", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var v view
			if err := v.decode(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("proto", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var r authv3.CheckRequest
			if err := proto.Unmarshal(raw, &r); err != nil {
				b.Fatal(err)
			}
		}
	})
}
