package listfilter

import (
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/session"
)

// namespace is where ext_authz writes its dynamic metadata. No client can
// write there.
const namespace = "envoy.filters.http.ext_authz"

// mode is how a reply is treated; its values are those of the `inspect`
// metadata.
type mode string

// The modes. `none` never comes here: it takes the plain route.
const (
	modeList    mode = "list"
	modeSession mode = "session"
	modeResume  mode = "resume"
	modeTask    mode = "task"
)

// decision is what ext_authz decided about the request.
type decision struct {
	server     string
	generation int64
	mode       mode
	// own is the list that the method asks for, anyList in the other modes.
	own list
	// id is the raw JSON of the request's id, nil without one.
	id     []byte
	caller session.Owner
	// token is what a Revocation can name: the caller and its token.
	token extauthz.Caller
	// scopes are the caller's effective scopes, separated by spaces.
	scopes string
}

// listMethods are the methods of modeList by the list they ask for.
var listMethods = [...]string{
	tools:             "tools/list",
	prompts:           "prompts/list",
	resources:         "resources/list",
	resourceTemplates: "resources/templates/list",
}

// readDecision reads the decision from the metadata of the first message of a
// stream. Anything missing or contradictory is reasonDecision; the id, if it
// could be read, is there all the same.
func readDecision(metadata *corev3.Metadata) (decision, error) {
	fields := metadata.GetFilterMetadata()[namespace].GetFields()
	d := decision{
		own:    anyList,
		mode:   mode(fields["inspect"].GetStringValue()),
		server: fields["server"].GetStringValue(),
		id:     readID(fields["id"]),
		caller: session.Owner{
			Issuer:  fields["issuer"].GetStringValue(),
			Subject: fields["subject"].GetStringValue(),
			Client:  fields["client"].GetStringValue(),
			Server:  fields["server"].GetStringValue(),
		},
		scopes: fields["scopes"].GetStringValue(),
	}
	d.token = extauthz.Caller{
		Issuer: d.caller.Issuer, Subject: d.caller.Subject, Client: d.caller.Client,
		TokenID: fields["token_id"].GetStringValue(), SessionID: fields["session"].GetStringValue(),
	}
	// A time that cannot be read is none, which spares no token.
	d.token.IssuedAt, _ = time.Parse(time.RFC3339Nano, fields["issued_at"].GetStringValue())
	if d.server == "" || d.caller.Issuer == "" || d.caller.Subject == "" {
		return d, reasonDecision
	}
	// The route that was chosen says which generation of the upstream answers.
	generation, ok := strings.CutPrefix(fields["route"].GetStringValue(), "inspect:"+d.server+"@")
	if !ok {
		return d, reasonDecision
	}
	var err error
	if d.generation, err = strconv.ParseInt(generation, 10, 64); err != nil {
		return d, reasonDecision
	}
	method := fields["method"].GetStringValue()
	switch d.mode {
	case modeResume:
		return d, nil
	case modeSession:
		if method == "initialize" {
			return d, nil
		}
	case modeTask:
		if method == "tools/call" && d.id != nil {
			return d, nil
		}
	case modeList:
		for l, m := range listMethods {
			if m == method {
				d.own = list(l)
				return d, nil
			}
		}
	}
	return d, reasonDecision
}

// readID returns the raw JSON of the request's id, nil if it is none: it is
// copied into error replies.
func readID(field *structpb.Value) []byte {
	raw := []byte(field.GetStringValue())
	s := scanner{data: raw}
	switch c := s.next(); {
	case c == '"' || c == '-' || '0' <= c && c <= '9':
		if s.value(0) == nil && s.end() == nil {
			return raw
		}
	}
	return nil
}
