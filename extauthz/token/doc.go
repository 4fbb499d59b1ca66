// Package token turns an OAuth access token into the caller it speaks for. It
// is the only importer of jwx, which does the arithmetic of signatures and the
// reading of key material; every rule about what a token may be is here.
//
// It owns the verification of JWT access tokens (RFC 7519, RFC 9068, the
// advice of RFC 8725), the key sets of the issuers (RFC 7517, found through
// RFC 8414 or OpenID Connect Discovery), and the cache of verified tokens. It
// does not read the Authorization header, decides nothing about MCP, and
// knows no policy: package check calls Verify, the program calls SetIssuer and
// RemoveIssuer when the registry changes.
//
// A token passes these stations, each of which can only refuse:
//
//	size, alphabet, three segments      parse       no library, no allocation by content
//	header and claims as strict JSON    parse       duplicates, bad UTF-8, depth: refused
//	issuer, byte for byte               Verify      among those the server accepts
//	algorithm, type, times, audience,   issuer      what the issuer's settings say
//	subject, client, scopes, groups
//	key by kid                          source      may fetch: coalesced, limited
//	signature                           flights     coalesced, bounded, one key only
//
// The cheap stations come before the signature, so that the expired tokens of
// a forgetful client cost no arithmetic and fetch no keys. Nothing that a
// station has read is trusted before the last one: until then it can only lead
// to a refusal, and to the choice of the issuer whose keys must agree.
//
// What is chosen where the standards leave it open:
//
//   - `jku`, `x5u`, `x5c` and `jwk` in a header are ignored, as RFC 8725
//     section 3.10 allows: some authorization servers send them, nobody here
//     reads them. `crit`, `b64`, `zip`, `enc` and `cty: JWT` are refused.
//   - A token without `typ` (Amazon Cognito) is accepted only from an Issuer
//     whose tokenTypes contain the empty string.
//   - Types that name another kind of token (ID-JAG, DPoP proof, logout and
//     security event tokens) are refused even when an Issuer lists them, and so
//     are ID tokens and refresh tokens that only their claims give away.
//   - A token bound to a key (`cnf`) is refused: the gateway cannot see the
//     proof, and taking such a token without it would undo the binding.
//   - A claim that is present in a form it must not have is refused, never
//     taken for absent.
//   - A key that was replaced under its old kid counts from the next refresh on.
//     Only an unknown kid causes a fetch out of turn, once in ten seconds for
//     all: a flood of invented kids delays a new key by that much, no more.
//   - High-s ECDSA signatures are accepted (RFC 7518 does not forbid them):
//     nothing here depends on a token having one signature only.
//   - A key set may live in private address ranges, since identity providers
//     often do. Loopback is for issuers that are loopback URLs; link-local,
//     metadata and multicast addresses are never connected to. Proxies of the
//     environment are not used.
package token
