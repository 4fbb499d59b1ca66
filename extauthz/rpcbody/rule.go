package rpcbody

import (
	"slices"
	"strconv"
)

// The rules a body can break. A body that breaks several is refused by the one
// that the reader meets first.
const (
	// RuleEmpty: no bytes, or white space alone.
	RuleEmpty = "body-empty"
	// RuleSize: more than MaxBytes.
	RuleSize = "body-size"
	// RuleBOM: a UTF-8 byte order mark before the value.
	RuleBOM = "body-bom"
	// RuleEncoding: UTF-16 or UTF-32, with or without a byte order mark.
	RuleEncoding = "body-encoding"
	// RuleUTF8: a byte sequence that is not UTF-8.
	RuleUTF8 = "body-utf8"

	// RuleBatch: an array of messages.
	RuleBatch = "body-batch"
	// RuleNotObject: another value that is not an object.
	RuleNotObject = "body-not-object"
	// RuleTruncated: the body ends before the value does.
	RuleTruncated = "body-truncated"
	// RuleTrailing: anything but white space after the value.
	RuleTrailing = "body-trailing"
	// RuleDepth: more than Limits.Depth arrays and objects inside each other.
	RuleDepth = "body-depth"

	// RuleSyntax: a break of the JSON grammar that has no rule of its own.
	RuleSyntax = "body-syntax"
	// RuleNumber: a number outside the grammar: 01, +1, .5, 1., 0x10.
	RuleNumber = "body-number"
	// RuleLiteral: a word that is not true, false or null: NaN, Infinity, True.
	RuleLiteral = "body-literal"
	// RuleComment: a comment.
	RuleComment = "body-comment"
	// RuleComma: a comma where the grammar has none: before the end of an array
	// or object, or two in a row.
	RuleComma = "body-comma"
	// RuleEscape: a backslash sequence outside the grammar.
	RuleEscape = "body-escape"
	// RuleControl: an unescaped control character inside a string.
	RuleControl = "body-control"
	// RuleSurrogate: an escaped half of a surrogate pair without the other half.
	RuleSurrogate = "body-surrogate"

	// RuleDuplicate: a member name twice in one object, compared unescaped.
	RuleDuplicate = "body-duplicate"
	// RuleNameFold: a name that is not a member we read but becomes one for a
	// reader that ignores case, underscores or dashes: Name, task_id.
	RuleNameFold = "body-name-fold"
	// RuleNameControl: a control character in a name beside members we read.
	RuleNameControl = "body-name-control"
	// RuleNameProto: `__proto__` beside members we read. JavaScript that copies
	// the object takes its value for the members that are absent.
	RuleNameProto = "body-name-proto"

	// RuleJSONRPC: `jsonrpc` is absent or not "2.0".
	RuleJSONRPC = "body-jsonrpc"
	// RuleID: an `id` that is neither a string of at most MaxID bytes nor an
	// integer within ±(2^53-1) in plain decimal digits. -0 is refused: it
	// comes back as 0 from some servers.
	RuleID = "body-id"
	// RuleIDNull: an `id` of null in anything but an error response.
	RuleIDNull = "body-id-null"
	// RuleCallWithoutID: a tools/call without an `id`: the tool would run with
	// nobody to answer to.
	RuleCallWithoutID = "body-call-without-id"
	// RuleResponseID: a response without an `id`.
	RuleResponseID = "body-response-id"
	// RuleMethod: a `method` that is not a string of 1 to MaxMethod bytes
	// without control characters.
	RuleMethod = "body-method"
	// RuleNoMethod: neither `method` nor `result` nor `error`.
	RuleNoMethod = "body-no-method"
	// RuleMixed: more than one of `method`, `result` and `error`.
	RuleMixed = "body-mixed"
	// RuleResult: a `result` or `error` that is not an object. A null would be
	// an absent member to some readers.
	RuleResult = "body-result"
	// RuleParams: `params` that are not an object.
	RuleParams = "body-params"
	// RuleMemberType: a member that we read has another type than the
	// specification gives it.
	RuleMemberType = "body-member-type"
	// RuleMemberLength: a string or list that we read is longer than its limit.
	RuleMemberLength = "body-member-length"
	// RuleMemberControl: a control character in a string that we read.
	RuleMemberControl = "body-member-control"
)

// The limits of what is read, in bytes of the unescaped string where nothing
// else is said.
const (
	// MaxBytes is the size of the largest body that is read at all.
	MaxBytes = 256 << 20
	// MaxDepth is how many arrays and objects may be inside each other, the
	// message itself included.
	MaxDepth = 64
	// MaxID is for an `id` that is a string.
	MaxID = 256
	// MaxMethod is for `method`.
	MaxMethod = 256
	// MaxName is for the name of a tool or prompt; the specification advises
	// at most 128.
	MaxName = 256
	// MaxURI is for the URI of a resource.
	MaxURI = 8 << 10
	// MaxTaskID is for the id of a task.
	MaxTaskID = 1 << 10
	// MaxVersion is for a protocol version, and for `type` of a ref.
	MaxVersion = 64
	// MaxList is the number of entries of each list of subscriptions/listen.
	MaxList = 1000

	// maxInteger is the largest magnitude of an `id` that every reader keeps
	// exact: 2^53-1.
	maxInteger = 1<<53 - 1
)

// Rules returns the ids of all rules, sorted.
func Rules() []string {
	all := []string{
		RuleEmpty, RuleSize, RuleBOM, RuleEncoding, RuleUTF8,
		RuleBatch, RuleNotObject, RuleTruncated, RuleTrailing, RuleDepth,
		RuleSyntax, RuleNumber, RuleLiteral, RuleComment, RuleComma,
		RuleEscape, RuleControl, RuleSurrogate,
		RuleDuplicate, RuleNameFold, RuleNameControl, RuleNameProto,
		RuleJSONRPC, RuleID, RuleIDNull, RuleCallWithoutID, RuleResponseID,
		RuleMethod, RuleNoMethod, RuleMixed, RuleResult, RuleParams,
		RuleMemberType, RuleMemberLength, RuleMemberControl,
	}
	slices.Sort(all)
	return all
}

// Error is the refusal of a body. Its text holds nothing of the body.
type Error struct {
	// Rule is one of Rules.
	Rule string
	// Offset is the byte of the body at which the rule was found broken: the
	// length of the body when something is missing.
	Offset int
	// ID is the raw JSON text of `id` when an acceptable one that is not null
	// had been read before; else empty.
	ID string
}

// Error implements error.
func (e *Error) Error() string {
	return e.Rule + " at byte " + strconv.Itoa(e.Offset)
}
