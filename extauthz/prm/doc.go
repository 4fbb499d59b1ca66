// Package prm serves the OAuth 2.0 protected resource metadata (RFC 9728) of
// the servers: where a client learns which authorization server to go to. It
// is open to everyone and answers no path with 401: clients that meet one
// there give up.
//
// It owns the two forms of the document and nothing else. What is in them
// comes from extauthz.Policies, at the time of the request. Beside them it
// passes on the metadata of the authorization server itself, for clients of MCP
// 2025-03-26, which look for that document here.
//
// Every server has its own document, at the well-known path with the server's
// path behind it, because a client must not use a document whose `resource` is
// not the URL that it derived the path from (RFC 9728 section 3.3). The root
// document describes the origin itself: it is what clients ask for that know
// the origin alone, and it exists while there is an Issuer to send them to.
package prm
