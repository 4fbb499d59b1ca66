package listfilter

import "errors"

// reason says why a reply is refused: the stable id of the rule. It is for the
// operator only; the client learns that the reply could not be used.
type reason string

// Error implements error.
func (r reason) Error() string { return string(r) }

// Why a reply is refused.
const (
	// The metadata of ext_authz is missing, incomplete or contradicts itself.
	reasonDecision reason = "reply-no-decision"
	// The server was deleted or disabled, or this generation of its upstream
	// is no longer kept.
	reasonServer reason = "reply-server-gone"
	// Envoy's messages came in an order that the protocol does not have.
	reasonProtocol reason = "reply-protocol"

	// The status is absent, a redirect, or one that a client would take for
	// the gateway's own challenge.
	reasonStatus reason = "reply-status"
	// Content-Type is absent, repeated or neither JSON nor an event stream.
	reasonContentType reason = "reply-content-type"
	// The body is compressed.
	reasonEncoding reason = "reply-content-encoding"
	// The session id cannot be bound to its owner.
	reasonSession reason = "reply-session-id"
	// The task that the reply starts cannot be bound to its owner.
	reasonTask reason = "reply-task"

	// A Revocation has taken back the caller's token since the request was
	// allowed.
	reasonRevoked reason = "reply-token-revoked"

	// The body is not one JSON text (RFC 8259) in UTF-8.
	reasonSyntax reason = "reply-json"
	// An object has the same name twice, at any level.
	reasonDuplicate reason = "reply-duplicate-name"
	// A name differs only by case folding from one that is read.
	reasonFolded reason = "reply-folded-name"
	// The JSON is nested deeper than maxDepth.
	reasonDepth reason = "reply-depth"
	// More names are open at once than maxNames.
	reasonNames reason = "reply-names"
	// The text is no JSON-RPC 2.0 message, or one that can be read as two kinds
	// of message, or its list is no array.
	reasonShape reason = "reply-shape"
	// The reply answers another request.
	reasonID reason = "reply-id"

	// The reply, or one event, is larger than Config.MaxReplyBytes.
	reasonSize reason = "reply-too-large"
	// A list has more items than Config.MaxItems.
	reasonItems reason = "reply-too-many-items"
	// The caller has as many GET streams open as Config.MaxStreams.
	reasonStreams reason = "reply-too-many-streams"
	// All streams together hold more than Config.MaxHeldBytes.
	reasonBudget reason = "reply-held-bytes"
	// The reply, or the reader of our answer, did not come to an end in time.
	reasonDeadline reason = "reply-deadline"
	// A bug of ours.
	reasonPanic reason = "reply-internal"
)

// Rules lists the ids of the rules that refuse a reply, as they stand in the
// log.
func Rules() []string {
	all := []reason{
		reasonDecision, reasonServer, reasonProtocol,
		reasonStatus, reasonContentType, reasonEncoding, reasonSession, reasonTask, reasonRevoked,
		reasonSyntax, reasonDuplicate, reasonFolded, reasonDepth, reasonNames, reasonShape, reasonID,
		reasonSize, reasonItems, reasonStreams, reasonBudget, reasonDeadline, reasonPanic,
	}
	ids := make([]string, len(all))
	for i, r := range all {
		ids[i] = string(r)
	}
	return ids
}

// asReason is errors.As for a reason.
func asReason(err error, why *reason) bool { return errors.As(err, why) }
