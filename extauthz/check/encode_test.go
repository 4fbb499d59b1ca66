package check

import (
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/google/go-cmp/cmp"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"
)

func options(set []pair) []*corev3.HeaderValueOption {
	var out []*corev3.HeaderValueOption
	for _, h := range set {
		out = append(out, &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: h.name, Value: h.value},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		})
	}
	return out
}

func structOf(members []pair) *structpb.Struct {
	s := &structpb.Struct{}
	for _, m := range members {
		if s.Fields == nil {
			s.Fields = map[string]*structpb.Value{}
		}
		s.Fields[m.name] = structpb.NewStringValue(m.value)
	}
	return s
}

func unmarshalResponse(t interface{ Fatalf(string, ...any) }, wire []byte) *authv3.CheckResponse {
	var r authv3.CheckResponse
	if err := proto.Unmarshal(wire, &r); err != nil {
		t.Fatalf("CheckResponse cannot be read: %v", err)
	}
	return &r
}

// TestEncodeAgreesWithProto: what is written by hand is what the library would
// have written, for any content and length.
func TestEncodeAgreesWithProto(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.StringN(0, 40, -1), rapid.Map(rapid.IntRange(0, 20000), func(n int) string { return strings.Repeat("x", n) }))
		pairs := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) pair { return pair{text.Draw(t, "name"), text.Draw(t, "value")} }), 0, 6,
			func(p pair) string { return p.name })
		set, meta := pairs.Draw(t, "set"), pairs.Draw(t, "meta")
		remove := rapid.SliceOfN(text, 0, 4).Draw(t, "remove")
		if len(remove) == 0 {
			remove = nil
		}

		ok := encodeOK(set, remove, meta)
		want := &authv3.CheckResponse{
			Status: &statuspb.Status{},
			HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
				Headers: options(set), HeadersToRemove: remove,
			}},
			DynamicMetadata: structOf(meta),
		}
		if d := cmp.Diff(want, unmarshalResponse(t, ok), protocmp.Transform()); d != "" {
			t.Fatalf("OK (-want +got):\n%s", d)
		}

		code := codes.Code(rapid.Uint32Range(1, 16).Draw(t, "code"))
		status := rapid.IntRange(200, 599).Draw(t, "status")
		body := text.Draw(t, "body")
		denied := encodeDenied(code, status, set, []byte(body), meta)
		want = &authv3.CheckResponse{
			Status: &statuspb.Status{Code: int32(code)},
			HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
				Status: &typev3.HttpStatus{Code: typev3.StatusCode(status)}, Headers: options(set), Body: body,
			}},
			DynamicMetadata: structOf(meta),
		}
		if d := cmp.Diff(want, unmarshalResponse(t, denied), protocmp.Transform()); d != "" {
			t.Fatalf("denied (-want +got):\n%s", d)
		}
	})
}

func TestEncodeAllocatesOnce(t *testing.T) {
	set := []pair{{"content-type", "application/json"}, {"x-mcpgate-subject", "alice"}}
	meta := []pair{{"route", "plain:weather@3"}, {"server", "weather"}}
	if n := testing.AllocsPerRun(100, func() { encodeOK(set, []string{"cookie"}, meta) }); n > 1 {
		t.Errorf("encodeOK allocates %v times: its length is computed wrongly", n)
	}
	if n := testing.AllocsPerRun(100, func() { encodeDenied(codes.PermissionDenied, 403, set, []byte("{}"), meta) }); n > 1 {
		t.Errorf("encodeDenied allocates %v times: its length is computed wrongly", n)
	}
}
