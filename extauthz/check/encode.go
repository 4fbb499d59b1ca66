package check

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
)

// pair is a header to set, or a string member of dynamic metadata.
type pair struct{ name, value string }

// Field numbers of envoy.service.auth.v3.CheckResponse and what is in it.
const (
	fResponseStatus   = 1 // CheckResponse.status
	fResponseDenied   = 2 // CheckResponse.denied_response
	fResponseOK       = 3 // CheckResponse.ok_response
	fResponseMetadata = 4 // CheckResponse.dynamic_metadata

	fStatusCode = 1 // google.rpc.Status.code

	fOKHeaders = 2 // OkHttpResponse.headers
	fOKRemove  = 5 // OkHttpResponse.headers_to_remove

	fDeniedStatus  = 1 // DeniedHttpResponse.status
	fDeniedHeaders = 2 // DeniedHttpResponse.headers
	fDeniedBody    = 3 // DeniedHttpResponse.body

	fHTTPStatusCode = 1 // type.v3.HttpStatus.code

	fOptionHeader = 1 // config.core.v3.HeaderValueOption.header
	fOptionAction = 3 // config.core.v3.HeaderValueOption.append_action

	// overwriteOrAdd is OVERWRITE_IF_EXISTS_OR_ADD: the value replaces every
	// copy that the client sent. The other actions add beside them, or do
	// nothing.
	overwriteOrAdd = 2
)

// encodeOK is a CheckResponse with status OK.
func encodeOK(set []pair, remove []string, metadata []pair) []byte {
	ok := 0
	for _, h := range set {
		ok += fieldLen(optionLen(h))
	}
	for _, name := range remove {
		ok += fieldLen(len(name))
	}
	meta := structLen(metadata)

	b := make([]byte, 0, 2+fieldLen(ok)+fieldLen(meta))
	// An empty Status has code 0; that it is there is the explicit allow.
	b = appendLen(b, fResponseStatus, 0)
	b = appendLen(b, fResponseOK, ok)
	for _, h := range set {
		b = appendOption(b, fOKHeaders, h)
	}
	for _, name := range remove {
		b = appendText(b, fOKRemove, name)
	}
	b = appendLen(b, fResponseMetadata, meta)
	return appendStruct(b, metadata)
}

// encodeDenied is a CheckResponse with an error status.
func encodeDenied(code codes.Code, status int, set []pair, body []byte, metadata []pair) []byte {
	codeLen := 1 + protowire.SizeVarint(uint64(code))
	statusLen := 1 + protowire.SizeVarint(uint64(status))
	denied := fieldLen(statusLen)
	for _, h := range set {
		denied += fieldLen(optionLen(h))
	}
	if len(body) > 0 {
		denied += fieldLen(len(body))
	}
	meta := structLen(metadata)

	b := make([]byte, 0, fieldLen(codeLen)+fieldLen(denied)+fieldLen(meta))
	b = appendLen(b, fResponseStatus, codeLen)
	b = protowire.AppendTag(b, fStatusCode, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(code))
	b = appendLen(b, fResponseDenied, denied)
	b = appendLen(b, fDeniedStatus, statusLen)
	b = protowire.AppendTag(b, fHTTPStatusCode, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(status))
	for _, h := range set {
		b = appendOption(b, fDeniedHeaders, h)
	}
	if len(body) > 0 {
		b = protowire.AppendTag(b, fDeniedBody, protowire.BytesType)
		b = protowire.AppendBytes(b, body)
	}
	b = appendLen(b, fResponseMetadata, meta)
	return appendStruct(b, metadata)
}

// fieldLen is the length of a length-delimited field with n bytes in it. All
// field numbers here are below 16: their tags take one byte.
func fieldLen(n int) int { return 1 + protowire.SizeBytes(n) }

func appendLen(b []byte, num protowire.Number, n int) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendVarint(b, uint64(n))
}

func appendText(b []byte, num protowire.Number, s string) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendString(b, s)
}

// optionLen is the length of a HeaderValueOption.
func optionLen(h pair) int { return fieldLen(headerLen(h)) + 2 }

// headerLen is the length of a HeaderValue. Envoy ignores its raw_value here
// and would send an empty header.
func headerLen(h pair) int { return fieldLen(len(h.name)) + fieldLen(len(h.value)) }

func appendOption(b []byte, num protowire.Number, h pair) []byte {
	b = appendLen(b, num, optionLen(h))
	b = appendLen(b, fOptionHeader, headerLen(h))
	b = appendText(b, fHeaderKey, h.name)
	b = appendText(b, fHeaderValue, h.value)
	b = protowire.AppendTag(b, fOptionAction, protowire.VarintType)
	return append(b, overwriteOrAdd)
}

// structLen is the length of a google.protobuf.Struct of strings.
func structLen(members []pair) int {
	n := 0
	for _, m := range members {
		n += fieldLen(memberLen(m))
	}
	return n
}

func memberLen(m pair) int {
	return fieldLen(len(m.name)) + fieldLen(fieldLen(len(m.value)))
}

func appendStruct(b []byte, members []pair) []byte {
	for _, m := range members {
		b = appendLen(b, fStructFields, memberLen(m))
		b = appendText(b, fMapKey, m.name)
		b = appendLen(b, fMapValue, fieldLen(len(m.value)))
		b = appendText(b, fValueString, m.value)
	}
	return b
}
