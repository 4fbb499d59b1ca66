package extauthz

// Rule is the stable id of a rule that decides about requests. Every refusal
// of the gateway has one; it stands in the audit line, in SECURITY.md and in
// the name of a test. What a rule answers is in its Answer.
type Rule string

// RuleGranted is the rule of every allow.
const RuleGranted Rule = "granted"

// The rules of the guard, which looks at the request before anything in it is
// read.
const (
	// RuleRouteMetadata: the route that Envoy chose does not say which server
	// it is for.
	RuleRouteMetadata Rule = "route-metadata-missing"
	// RuleServerUnknown: no such server, or it is disabled.
	RuleServerUnknown Rule = "server-unknown"
	// RuleGenerationUnknown: the route is for an upstream that is no more.
	RuleGenerationUnknown Rule = "generation-unknown"
	// RuleVerb: not POST, GET or DELETE.
	RuleVerb Rule = "verb"
	// RuleVerbModern: GET or DELETE in an era that has only POST.
	RuleVerbModern Rule = "verb-modern"
	// RuleOrigin: a browser's Origin that is not allowed, or more than one.
	RuleOrigin Rule = "origin"
	// RuleHeaderDuplicate: a header that decides something is there twice.
	RuleHeaderDuplicate Rule = "header-duplicate"
	// RuleContentType: not exactly one application/json in UTF-8.
	RuleContentType Rule = "content-type"
	// RuleContentEncoding: a Content-Encoding other than identity.
	RuleContentEncoding Rule = "content-encoding"
	// RulePartialBody: Envoy did not hand over the whole body.
	RulePartialBody Rule = "partial-body"
	// RuleUnexpectedBody: a body on a GET or DELETE.
	RuleUnexpectedBody Rule = "unexpected-body"
)

// The rules of the access token.
const (
	RuleTokenMissing Rule = "token-missing"
	// RuleTokenScheme: credentials of another scheme than Bearer.
	RuleTokenScheme Rule = "token-scheme"
	// RuleTokenDuplicate: two Authorization headers, or a comma in one.
	RuleTokenDuplicate Rule = "token-duplicate"
	// RuleTokenInQuery: `access_token` in the query (RFC 6750 section 2.3).
	RuleTokenInQuery Rule = "token-in-query"
	// RuleTokenMalformed: not a compact JWS of strict JSON.
	RuleTokenMalformed Rule = "token-malformed"
	RuleTokenTooLarge  Rule = "token-too-large"
	// RuleTokenType: `typ` is not one that the Issuer lists.
	RuleTokenType Rule = "token-type"
	// RuleTokenAlgorithm: `alg` is not one that the Issuer lists, or not the key's.
	RuleTokenAlgorithm Rule = "token-algorithm" //nolint:gosec // G101 takes the id of a rule for a token
	// RuleTokenHeader: a JOSE header that is refused, such as `crit` or `zip`.
	RuleTokenHeader Rule = "token-header"
	// RuleTokenKey: no key of the issuer fits.
	RuleTokenKey       Rule = "token-key"
	RuleTokenSignature Rule = "token-signature"
	RuleTokenExpired   Rule = "token-expired"
	// RuleTokenNotYetValid: `nbf` or `iat` is in the future.
	RuleTokenNotYetValid Rule = "token-not-yet-valid" //nolint:gosec // G101 takes the id of a rule for a token
	// RuleTokenIssuer: `iss` is none that the server accepts.
	RuleTokenIssuer   Rule = "token-issuer"
	RuleTokenAudience Rule = "token-audience"
	// RuleTokenSubject: no subject, or one that cannot be used.
	RuleTokenSubject Rule = "token-subject"
	// RuleTokenClaim: another claim that is needed is missing or not usable.
	RuleTokenClaim Rule = "token-claim"
	// RuleTokenInactive: the issuer says, asked, that the token is not active.
	RuleTokenInactive Rule = "token-inactive"
	// RuleTokenRevoked: a Revocation names the token or whom it speaks for.
	RuleTokenRevoked Rule = "token-revoked"
)

// The rules of the message and the headers that repeat parts of it. Rules
// about the bytes of the body are in package rpcbody; their ids begin with
// "body-".
const (
	// RuleMirrorMissing: the era demands a header that is not there.
	RuleMirrorMissing Rule = "mirror-missing"
	// RuleMirrorMismatch: a header that repeats a part of the body differs.
	RuleMirrorMismatch Rule = "mirror-mismatch"
	// RuleVersionUnsupported: a protocol version that the gateway does not know.
	RuleVersionUnsupported Rule = "version-unsupported"
	// RuleMetaMissing: a message of the modern era without its version in _meta.
	RuleMetaMissing Rule = "meta-missing"
	// RuleResponseModern: a response from a client, which the modern era forbids.
	RuleResponseModern Rule = "response-modern"
	// RuleMessageKind: a request's method without an id, or a notification's
	// method with one.
	RuleMessageKind Rule = "message-kind"
	// RuleTargetMissing: the message does not name what it wants to use.
	RuleTargetMissing Rule = "target-missing"
	// RuleRefUnknown: params.ref is neither a prompt nor a resource.
	RuleRefUnknown Rule = "ref-unknown"
	// RuleMethodUnknown: a method that the era does not have and that no rule
	// of this server grants.
	RuleMethodUnknown Rule = "method-unknown"
	// RuleMethodUnknownLegacy is RuleMethodUnknown for a client that has said
	// to be of the legacy era, where a 404 would mean that its session is gone.
	RuleMethodUnknownLegacy Rule = "method-unknown-legacy"
)

// The rules of permission and of sessions.
const (
	// RuleScopeInsufficient: another scope would allow the operation.
	RuleScopeInsufficient Rule = "scope-insufficient"
	// RuleNoScopeHelps: no scope allows the operation.
	RuleNoScopeHelps Rule = "no-scope-helps"
	// RuleTasksList: tasks/list, whose reply cannot be limited to one caller.
	RuleTasksList Rule = "tasks-list"
	// RuleTaskNotBound: the task is not known to belong to the caller.
	RuleTaskNotBound Rule = "task-not-bound"
	// RuleTaskNotBoundLegacy is RuleTaskNotBound for a request of the legacy
	// era, where the answer of servers has the status 200.
	RuleTaskNotBoundLegacy Rule = "task-not-bound-legacy"
	// RuleSessionUnknown: a session id that was not given to this caller for
	// this server.
	RuleSessionUnknown Rule = "session-unknown"
)

// The rules for a decision that cannot be made.
const (
	// RuleInternal: an error in the gateway.
	RuleInternal Rule = "internal-error"
	// RulePanic: a panic in the gateway.
	RulePanic Rule = "panic"
	// RuleNotReady: the registry is not loaded yet.
	RuleNotReady Rule = "not-ready"
	// RuleKeysUnavailable: the issuer's keys are unknown or too old.
	RuleKeysUnavailable Rule = "keys-unavailable"
	// RuleSecretUnavailable: the upstream's credential cannot be resolved.
	RuleSecretUnavailable Rule = "secret-unavailable"
	// RuleExchangePending: the exchange of the token for the upstream's takes
	// longer than a check may; it goes on, for the next try.
	RuleExchangePending Rule = "exchange-pending"
	// RuleExchangeUnavailable: the token endpoint cannot be asked, or fails.
	RuleExchangeUnavailable Rule = "exchange-unavailable"
	// RuleExchangeRefused: the token endpoint does not give a token for the
	// upstream, or none that can be used.
	RuleExchangeRefused Rule = "exchange-refused"
	// RuleOverload: too many checks in flight.
	RuleOverload Rule = "overload"
	// RuleDeadline: the decision took too long.
	RuleDeadline Rule = "deadline"
)
