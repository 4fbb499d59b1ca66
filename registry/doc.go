// Package registry holds what the gateway knows: MCP servers, token issuers,
// scopes, group mappings and revocations, the rules that make them valid, and the contract
// of the store that keeps them.
//
// It owns the domain types, their JSON form, their validation, the Store
// contract and the sentinel errors. It does not read YAML (package manifest),
// does not touch a file or a network (boltstore), and knows nothing of Envoy
// or of tokens. It imports the standard library only; every other package may
// import it.
//
// A write goes through Apply, which validates the resources against each
// other inside one store transaction, so a stored registry is valid at every
// revision.
package registry
