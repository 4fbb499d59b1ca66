// Package secret turns a secret reference of the registry into the secret, at
// the moment it is used: "env:NAME" is a variable of the process, and
// "file:/path" a file, which may be replaced at any time. It keeps nothing on
// disk, logs nothing, and no error of it carries a secret.
//
// It does not know what a secret is for; extauthz/check puts it into the
// request for an upstream.
package secret
