package manifest

import (
	"bytes"
	"errors"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxYAMLBytes is the largest YAML document. The reader holds all nodes of one
// document in memory, each far larger than its text.
const maxYAMLBytes = 1 << 20

// readYAML reads one document whose first line is line number base. ok is
// false when it cannot be read, or is empty.
func readYAML(r *report, text []byte, base int) (n *node, ok bool) {
	if len(text) > maxYAMLBytes {
		r.addf(base, "", "the document is larger than %d bytes", maxYAMLBytes)
		return nil, false
	}
	var doc yaml.Node
	if err := yaml.Load(text, &doc); err != nil {
		line, msg := yamlProblem(err)
		// The end of the text may count as a line of its own.
		last := bytes.Count(bytes.TrimSuffix(text, []byte{'\n'}), []byte{'\n'}) + 1
		r.addf(base+min(max(line, 1), last)-1, "", "%s", msg)
		return nil, false
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, false
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Value == "" && root.Style == 0 {
		return nil, false // nothing between two separators
	}
	y := yamlReader{report: r, base: base}
	return y.node(root, "", 0), true
}

// yamlProblem is the position and the message of a syntax error.
func yamlProblem(err error) (line int, msg string) {
	if e, ok := errors.AsType[*yaml.LoadError](err); ok {
		return int(e.Mark.Line), "not valid YAML: " + e.Message
	}
	return 1, "not valid YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")
}

type yamlReader struct {
	*report
	base int
}

// node converts a YAML node. Anchors, aliases, merge keys and tags of one's own
// are refused: they make a document say more, or other, than it shows.
func (y *yamlReader) node(in *yaml.Node, path string, depth int) *node {
	out := &node{line: y.base + max(in.Line, 1) - 1}
	switch {
	case depth > maxDepth:
		y.addf(out.line, path, "is nested deeper than %d levels", maxDepth)
		return out
	case in.Kind == yaml.AliasNode || in.Anchor != "":
		y.addf(out.line, path, "anchors and aliases are not accepted")
		return out
	}
	switch in.Kind { //nolint:exhaustive // a document holds no others
	case yaml.MappingNode:
		if in.ShortTag() == "!!map" {
			y.mapping(out, in, path, depth)
			return out
		}
	case yaml.SequenceNode:
		if in.ShortTag() == "!!seq" {
			out.kind = listNode
			for i, item := range in.Content {
				out.items = append(out.items, y.node(item, index(path, i), depth+1))
			}
			return out
		}
	case yaml.ScalarNode:
		if kind, ok := scalarKind(in.ShortTag()); ok {
			out.kind, out.text = kind, in.Value
			return out
		}
	}
	y.addf(out.line, path, "the tag %s is not accepted", quote(in.Tag))
	return out
}

func (y *yamlReader) mapping(out *node, in *yaml.Node, path string, depth int) {
	out.kind = mapNode
	for i := 0; i+1 < len(in.Content); i += 2 {
		k, v := in.Content[i], in.Content[i+1]
		line := y.base + k.Line - 1
		switch {
		case k.Kind == yaml.AliasNode || k.Anchor != "":
			y.addf(line, path, "anchors and aliases are not accepted")
			continue
		case k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge":
			y.addf(line, path, "merge keys are not accepted")
			continue
		case k.Kind != yaml.ScalarNode || k.ShortTag() != "!!str":
			y.addf(line, path, "has a key that is not a string")
			continue
		}
		out.keys = append(out.keys, key{name: k.Value, line: line})
		out.items = append(out.items, y.node(v, join(path, k.Value), depth+1))
	}
}

func scalarKind(tag string) (nodeKind, bool) {
	switch tag {
	// A date, or "<<", is a string to every field there is.
	case "!!str", "!!timestamp", "!!merge":
		return stringNode, true
	case "!!null":
		return nullNode, true
	case "!!bool":
		return boolNode, true
	case "!!int", "!!float":
		return numberNode, true
	}
	return unreadable, false
}
