package extauthz

import (
	"maps"
	"slices"
)

// Answer is how a refusal looks on the public listener.
type Answer struct {
	// Status is the HTTP status.
	Status int
	// Code is the JSON-RPC error code.
	Code int
	// Message is the JSON-RPC error message and the error_description of a
	// challenge: fixed text, nothing internal.
	Message string
	// OAuthError is `error` of the WWW-Authenticate challenge; Challenge says
	// whether there is one at all.
	OAuthError string
	Challenge  bool
	// Allow is the header of that name, for a 405.
	Allow string
	// RetryAfter is the header of that name in seconds, for a 503.
	RetryAfter int
	// Denial is true for a refusal of permission that no scope cures: the
	// configuration `gateway.denial: jsonrpc` answers it with 200.
	Denial bool
}

// JSON-RPC error codes. -32020 and below it to -32099 are reserved by MCP, the
// rest of the -320xx are free for implementations.
const (
	codeParse    = -32700
	codeInvalid  = -32600
	codeMethod   = -32601
	codeParams   = -32602
	codeInternal = -32603

	codeHeaderMismatch     = -32020
	codeVersionUnsupported = -32022

	// codeNotFound is what clients know as "unknown session".
	codeNotFound     = -32001
	codeUnauthorized = -32003
	codeForbidden    = -32004
	codeUnavailable  = -32005
)

// Values of `error` in a challenge: RFC 6750 section 3.1.
const (
	oauthInvalidToken      = "invalid_token"
	oauthInvalidRequest    = "invalid_request"
	oauthInsufficientScope = "insufficient_scope"
)

const retryAfter = 1

func refused(status, code int, message string) Answer {
	return Answer{Status: status, Code: code, Message: message}
}

func unreadable(message string) Answer { return refused(400, codeParse, message) }
func ambiguous(message string) Answer  { return refused(400, codeInvalid, message) }

func badToken(message string) Answer {
	return Answer{Status: 401, Code: codeUnauthorized, Message: message, OAuthError: oauthInvalidToken, Challenge: true}
}

func denied(status, code int, message string) Answer {
	return Answer{Status: status, Code: code, Message: message, Denial: true}
}

func unavailable(message string) Answer {
	return Answer{Status: 503, Code: codeUnavailable, Message: message, RetryAfter: retryAfter}
}

// answers is the one table of what each rule answers.
var answers = map[Rule]Answer{
	RuleRouteMetadata:     unavailable("no decision possible"),
	RuleServerUnknown:     refused(404, codeNotFound, "no such server"),
	RuleGenerationUnknown: unavailable("the server is changing"),
	RuleVerb:              {Status: 405, Code: codeMethod, Message: "method not allowed", Allow: "POST, GET, DELETE"},
	RuleVerbModern:        {Status: 405, Code: codeMethod, Message: "method not allowed in this protocol version", Allow: "POST"},
	RuleOrigin:            refused(403, codeForbidden, "origin not allowed"),
	RuleHeaderDuplicate:   ambiguous("repeated header"),
	RuleContentType:       refused(415, codeInvalid, "content type must be application/json in UTF-8"),
	RuleContentEncoding:   refused(415, codeInvalid, "content encoding not supported"),
	RulePartialBody:       refused(413, codeInvalid, "request body incomplete or too large"),
	RuleUnexpectedBody:    ambiguous("request body not expected"),

	RuleTokenMissing: {Status: 401, Code: codeUnauthorized, Message: "an access token is required", Challenge: true},
	RuleTokenScheme:  {Status: 401, Code: codeUnauthorized, Message: "a bearer token is required", Challenge: true},
	RuleTokenDuplicate: {
		Status: 401, Code: codeUnauthorized, Message: "more than one access token",
		OAuthError: oauthInvalidRequest, Challenge: true,
	},
	RuleTokenInQuery: {
		Status: 401, Code: codeUnauthorized, Message: "the access token must be in the Authorization header",
		OAuthError: oauthInvalidRequest, Challenge: true,
	},
	RuleTokenMalformed:   badToken("the access token is malformed"),
	RuleTokenTooLarge:    badToken("the access token is too large"),
	RuleTokenType:        badToken("the token is not an access token"),
	RuleTokenAlgorithm:   badToken("the signature algorithm is not accepted"),
	RuleTokenHeader:      badToken("the token header is not accepted"),
	RuleTokenKey:         badToken("the signing key is unknown"),
	RuleTokenSignature:   badToken("the signature is invalid"),
	RuleTokenExpired:     badToken("the access token expired"),
	RuleTokenNotYetValid: badToken("the access token is not valid yet"),
	RuleTokenIssuer:      badToken("the issuer is not accepted"),
	RuleTokenAudience:    badToken("the access token is for another audience"),
	RuleTokenSubject:     badToken("the subject is missing or not usable"),
	RuleTokenClaim:       badToken("a claim is missing or not usable"),
	RuleTokenInactive:    badToken("the access token is not active"),
	RuleTokenRevoked:     badToken("the access token was revoked"),

	RuleMirrorMissing:       refused(400, codeHeaderMismatch, "a required header is missing"),
	RuleMirrorMismatch:      refused(400, codeHeaderMismatch, "a header does not match the body"),
	RuleVersionUnsupported:  refused(400, codeVersionUnsupported, "unsupported protocol version"),
	RuleMetaMissing:         refused(400, codeParams, "the protocol version is missing in _meta"),
	RuleResponseModern:      ambiguous("responses are not accepted in this protocol version"),
	RuleMessageKind:         ambiguous("the id does not fit the method"),
	RuleTargetMissing:       refused(400, codeParams, "a required parameter is missing"),
	RuleRefUnknown:          refused(400, codeParams, "unknown reference type"),
	RuleMethodUnknown:       refused(404, codeMethod, "method not found"),
	RuleMethodUnknownLegacy: refused(200, codeMethod, "method not found"),

	RuleScopeInsufficient: {
		Status: 403, Code: codeForbidden, Message: "insufficient scope",
		OAuthError: oauthInsufficientScope, Challenge: true,
	},
	RuleNoScopeHelps:       denied(403, codeForbidden, "not permitted"),
	RuleTasksList:          denied(403, codeMethod, "tasks cannot be listed"),
	RuleTaskNotBound:       refused(400, codeParams, "task not found"),
	RuleTaskNotBoundLegacy: refused(200, codeParams, "task not found"),
	RuleSessionUnknown:     refused(404, codeNotFound, "no such session"),

	RuleInternal:            unavailable("no decision possible"),
	RulePanic:               unavailable("no decision possible"),
	RuleNotReady:            unavailable("not ready"),
	RuleKeysUnavailable:     unavailable("the access token cannot be verified now"),
	RuleSecretUnavailable:   unavailable("the server is not available"),
	RuleExchangePending:     unavailable("the server's access token is not there yet"),
	RuleExchangeUnavailable: unavailable("the server's access token cannot be obtained now"),
	RuleExchangeRefused:     refused(502, codeInternal, "no access token for the server"),
	RuleOverload:            unavailable("too many requests in flight"),
	RuleDeadline:            unavailable("no decision in time"),

	"body-size": refused(413, codeInvalid, "request body too large"),

	"body-empty":     unreadable("empty body"),
	"body-bom":       unreadable("byte order mark"),
	"body-encoding":  unreadable("not UTF-8"),
	"body-utf8":      unreadable("not UTF-8"),
	"body-truncated": unreadable("incomplete JSON"),
	"body-trailing":  unreadable("data after the message"),
	"body-syntax":    unreadable("invalid JSON"),
	"body-number":    unreadable("invalid number"),
	"body-literal":   unreadable("invalid literal"),
	"body-comment":   unreadable("comments are not JSON"),
	"body-comma":     unreadable("misplaced comma"),
	"body-escape":    unreadable("invalid escape"),
	"body-control":   unreadable("control character in a string"),
	"body-surrogate": unreadable("unpaired surrogate"),

	"body-batch":           ambiguous("batches are not accepted"),
	"body-not-object":      ambiguous("not a JSON-RPC message"),
	"body-depth":           ambiguous("nested too deeply"),
	"body-duplicate":       ambiguous("repeated member"),
	"body-name-fold":       ambiguous("ambiguous member name"),
	"body-name-control":    ambiguous("control character in a member name"),
	"body-name-proto":      ambiguous("member name not accepted"),
	"body-jsonrpc":         ambiguous("not a JSON-RPC 2.0 message"),
	"body-id":              ambiguous("invalid id"),
	"body-id-null":         ambiguous("invalid id"),
	"body-call-without-id": ambiguous("the id is missing"),
	"body-response-id":     ambiguous("the id is missing"),
	"body-method":          ambiguous("invalid method"),
	"body-no-method":       ambiguous("not a JSON-RPC message"),
	"body-mixed":           ambiguous("both a request and a response"),
	"body-result":          ambiguous("invalid result or error"),
	"body-params":          ambiguous("params is not an object"),
	"body-member-type":     ambiguous("a member has the wrong type"),
	"body-member-length":   ambiguous("a member is too long"),
	"body-member-control":  ambiguous("control character in a member"),
}

// Answer is what the rule answers. A rule that is not in the table answers as
// an internal error: 503.
func (r Rule) Answer() Answer {
	if a, ok := answers[r]; ok {
		return a
	}
	return answers[RuleInternal]
}

// Rules lists every rule that refuses, sorted.
func Rules() []Rule { return slices.Sorted(maps.Keys(answers)) }
