package config

// Limits bound what a client or an upstream can make the gateway hold or do.
// What is above a limit is refused; each refusal is counted (docs/operations.md).
type Limits struct {
	// HeaderBytes and HeaderCount bound the headers of a request, at Envoy.
	HeaderBytes Size `json:"headerBytes"`
	HeaderCount int  `json:"headerCount"`
	// BodyDepth is how many arrays and objects of a body may be inside each
	// other, the message itself included.
	BodyDepth int `json:"bodyDepth"`
	// NameBytes bounds the name of a tool or prompt, URIBytes that of a
	// resource.
	NameBytes Size `json:"nameBytes"`
	URIBytes  Size `json:"uriBytes"`
	// ListItems bounds the items of one list reply, ListReplyBytes the reply, or
	// one event of a stream.
	ListItems      int  `json:"listItems"`
	ListReplyBytes Size `json:"listReplyBytes"`
	// StreamsPerPrincipal bounds the open GET streams of one issuer, subject and
	// client, on all servers together.
	StreamsPerPrincipal int `json:"streamsPerPrincipal"`
	// ChecksInFlight bounds the decisions under way.
	ChecksInFlight int `json:"checksInFlight"`
}

// DefaultLimits are the limits of a configuration that names none. Those of
// the body are the strict reader's own.
func DefaultLimits() Limits {
	return Limits{
		HeaderBytes:         32 << 10,
		HeaderCount:         64,
		BodyDepth:           64,
		NameBytes:           256,
		URIBytes:            8 << 10,
		ListItems:           10_000,
		ListReplyBytes:      16 << 20,
		StreamsPerPrincipal: 256,
		ChecksInFlight:      4096,
	}
}

func (l Limits) validate(add addFunc) {
	size := func(field string, v, low, high Size) {
		if v < low || v > high {
			add("limits."+field, "%d is not between %d and %d", v, low, high)
		}
	}
	number := func(field string, v, low, high int) { size(field, Size(v), Size(low), Size(high)) }
	size("headerBytes", l.HeaderBytes, 4<<10, 256<<10)
	if l.HeaderBytes%(1<<10) != 0 {
		add("limits.headerBytes", "%d is not whole KiB", l.HeaderBytes)
	}
	number("headerCount", l.HeaderCount, 32, 1024)
	number("bodyDepth", l.BodyDepth, 8, 512)
	size("nameBytes", l.NameBytes, 16, 4<<10)
	size("uriBytes", l.URIBytes, 64, 64<<10)
	number("listItems", l.ListItems, 1, 1_000_000)
	size("listReplyBytes", l.ListReplyBytes, 4<<10, 256<<20)
	number("streamsPerPrincipal", l.StreamsPerPrincipal, 1, 100_000)
	number("checksInFlight", l.ChecksInFlight, 1, 1_000_000)
}
