package check

import (
	"errors"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of envoy.service.auth.v3.CheckRequest and what is in it.
const (
	fRequestAttributes = 1 // CheckRequest.attributes

	fAttributesRequest       = 4  // AttributeContext.request
	fAttributesRouteMetadata = 13 // AttributeContext.route_metadata_context

	fRequestHTTP = 2 // AttributeContext.Request.http

	fHTTPMethod    = 2  // AttributeContext.HttpRequest.method
	fHTTPPath      = 4  // AttributeContext.HttpRequest.path
	fHTTPSize      = 9  // AttributeContext.HttpRequest.size
	fHTTPRawBody   = 12 // AttributeContext.HttpRequest.raw_body
	fHTTPHeaderMap = 13 // AttributeContext.HttpRequest.header_map

	fHeaderMapHeaders = 1 // config.core.v3.HeaderMap.headers
	fHeaderKey        = 1 // config.core.v3.HeaderValue.key
	fHeaderValue      = 2 // config.core.v3.HeaderValue.value
	fHeaderRawValue   = 3 // config.core.v3.HeaderValue.raw_value

	fMetadataFilter = 1 // config.core.v3.Metadata.filter_metadata

	fMapKey   = 1 // of every map entry
	fMapValue = 2

	fStructFields = 1 // google.protobuf.Struct.fields
	fValueNumber  = 2 // google.protobuf.Value.number_value
	fValueString  = 3 // google.protobuf.Value.string_value
)

// maxGeneration is the largest integer that a JSON number, which is how
// metadata carries it, holds exactly.
const maxGeneration = 1 << 53

// metadataNamespace is the filter_metadata of the gateway on every route.
const metadataNamespace = "mcpgate"

// decode reads a CheckRequest. It is stricter than proto.Unmarshal where that
// would choose or merge: a field that must be there once and is there twice,
// or with another wire type, is an error. Unknown fields are passed over, for
// a newer Envoy's sake.
func (v *view) decode(b []byte) error {
	var once set
	return walk(b, func(f field) error {
		if f.num != fRequestAttributes {
			return nil
		}
		if err := once.add(f, protowire.BytesType); err != nil {
			return err
		}
		return v.decodeAttributes(f.bytes)
	})
}

func (v *view) decodeAttributes(b []byte) error {
	var once set
	return walk(b, func(f field) error {
		switch f.num {
		case fAttributesRequest:
			if err := once.add(f, protowire.BytesType); err != nil {
				return err
			}
			return v.decodeRequest(f.bytes)
		case fAttributesRouteMetadata:
			if err := once.add(f, protowire.BytesType); err != nil {
				return err
			}
			return v.decodeRouteMetadata(f.bytes)
		}
		return nil
	})
}

func (v *view) decodeRequest(b []byte) error {
	var once set
	return walk(b, func(f field) error {
		if f.num != fRequestHTTP {
			return nil
		}
		if err := once.add(f, protowire.BytesType); err != nil {
			return err
		}
		return v.decodeHTTP(f.bytes)
	})
}

func (v *view) decodeHTTP(b []byte) error {
	var once set
	return walk(b, func(f field) (err error) {
		switch f.num {
		case fHTTPMethod:
			v.verb, err = once.text(f)
		case fHTTPPath:
			v.path, err = once.text(f)
		case fHTTPSize:
			err = once.add(f, protowire.VarintType)
			v.size = int64(f.value)
		case fHTTPRawBody:
			if err = once.add(f, protowire.BytesType); err == nil {
				v.body = append([]byte(nil), f.bytes...)
			}
		case fHTTPHeaderMap:
			if err = once.add(f, protowire.BytesType); err == nil {
				v.hasHeaderMap = true
				err = v.decodeHeaderMap(f.bytes)
			}
		}
		return err
	})
}

func (v *view) decodeHeaderMap(b []byte) error {
	return walk(b, func(f field) error {
		if f.num != fHeaderMapHeaders {
			return nil
		}
		if f.typ != protowire.BytesType {
			return errWireType
		}
		return v.decodeHeader(f.bytes)
	})
}

func (v *view) decodeHeader(b []byte) error {
	var once set
	var key, text, value []byte
	err := walk(b, func(f field) error {
		switch f.num {
		case fHeaderKey:
			key = f.bytes
		case fHeaderValue:
			text = f.bytes
		case fHeaderRawValue:
			value = f.bytes
		default:
			return nil
		}
		return once.add(f, protowire.BytesType)
	})
	if err != nil {
		return err
	}
	// A value that is not raw has lost whatever was not UTF-8.
	if len(text) > 0 && len(value) == 0 {
		return errors.New("a header has no raw value")
	}
	i := headerIndex(key)
	if i < 0 {
		return nil
	}
	h := &v.headers[i]
	if h.count++; h.count == 1 {
		h.value = string(value)
	}
	return nil
}

func (v *view) decodeRouteMetadata(b []byte) error {
	found := false
	return walk(b, func(f field) error {
		if f.num != fMetadataFilter {
			return nil
		}
		key, value, err := mapEntry(f)
		if err != nil || string(key) != metadataNamespace {
			return err
		}
		if found {
			return errTwice
		}
		found = true
		return v.decodeMetadata(value)
	})
}

// decodeMetadata reads the Struct of the gateway's namespace.
func (v *view) decodeMetadata(b []byte) error {
	var server, generation bool
	return walk(b, func(f field) error {
		if f.num != fStructFields {
			return nil
		}
		key, value, err := mapEntry(f)
		if err != nil {
			return err
		}
		switch string(key) {
		case "server":
			if server {
				return errTwice
			}
			server = true
			v.server, _, err = decodeValue(value)
		case "generation":
			if generation {
				return errTwice
			}
			generation = true
			var n float64
			if _, n, err = decodeValue(value); n >= 1 && n <= maxGeneration && n == math.Trunc(n) {
				v.generation = int64(n)
			}
		}
		return err
	})
}

// decodeValue reads a google.protobuf.Value; a value of another kind reads as
// an empty string and 0.
func decodeValue(b []byte) (s string, n float64, err error) {
	kinds := 0
	err = walk(b, func(f field) (err error) {
		var once set
		switch f.num {
		case fValueString:
			s, err = once.text(f)
		case fValueNumber:
			err = once.add(f, protowire.Fixed64Type)
			n = math.Float64frombits(f.value)
		}
		if kinds++; kinds > 1 {
			return errTwice
		}
		return err
	})
	return s, n, err
}
