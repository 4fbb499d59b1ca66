// Package authserver speaks HTTP to authorization servers: it fetches their
// documents and posts forms to their endpoints as a confidential client. It
// owns the limits of what a server can do to the gateway, and where a URL of
// theirs may lead: https (http on loopback), no redirects, no proxies, no
// address of the machine itself, of its link or of a cloud's metadata service,
// judged when it is connected to.
//
// It knows nothing of tokens or key sets: token reads documents and asks for
// introspection by it, exchange trades tokens by it.
package authserver
