// Package manifest reads and writes resources as people keep them: YAML or
// JSON documents, several in a file.
//
// Reading is strict. An unknown field, a field given twice, a value of the
// wrong type, an unknown kind or a missing name is a problem with its file and
// line, and all problems are reported at once. What makes sense of the values
// is not its business: registry.Validate and registry.Apply judge them.
//
// Nothing here knows the fields: both directions follow the json tags of the
// registry's types. The command line reads files with it, the admin API reads
// bodies, and export writes what both read.
package manifest
