// Package exchange trades the token of a verified caller for one that is made
// for an upstream (OAuth 2.0 Token Exchange, RFC 8693), at the token endpoint
// that the server's Exchange names.
//
// It owns the request, the reading of the answer, the cache of what was traded
// and the pace: one exchange at a time for the same token and server, a bounded
// number in all, each with a time limit of its own, which may be longer than
// the check that began it. A check that cannot wait is told to come back, and
// what it began is there when it does.
//
//	Token ── cache ── flight under way ── new flight ── authserver.Post
//	                        └── waits, no longer than the check may
//
// Whatever goes wrong is an *Error with the rule that refuses the request: no
// failure ends with the client's own token, or with none, at the upstream.
//
// It does not verify the client's token (token) and decides nothing; package
// check calls it for a request that is allowed.
package exchange
