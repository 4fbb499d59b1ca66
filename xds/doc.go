// Package xds turns registry resources and the gateway's settings into Envoy
// resources. One Server becomes exactly two: a Cluster and a
// ScopedRouteConfiguration; nothing else mentions it, so a change of one server
// costs the same whatever the number of the others.
//
// Every function is pure: no I/O, no clock, no logger, the same input gives the
// same message. The package does not speak the xDS protocol (package ads does)
// and does not make the bootstrap (package envoy does), whose static clusters
// it only names.
//
// # The routes of a server
//
// All routes of a server have the exact path /<name>/mcp. The last one,
// RouteNoDecision, matches always and leads to a cluster without endpoints: it
// is the route that is there when a request arrives, and it stays the route
// unless the authorization service wrote, for exactly this server and this
// generation of its upstream, which of the others to take. No error, empty
// answer or foreign answer can therefore reach an upstream.
//
// # The generated text
//
// Several string fields of Envoy are formatters, in which a percent sign is
// active. Text that comes from the registry goes only into fields that are
// literal; Validate refuses messages in which it could have gone elsewhere.
package xds
