package manifest

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v4"

	"github.com/mcpgate/mcpgate/registry"
)

// Marshal writes resources as YAML documents that Parse reads back, `kind`
// first and then the fields in the order of their types, with the store's
// metadata when asked for. Fields that are not set are left out.
func Marshal(resources []registry.Resource, withMetadata bool) ([]byte, error) {
	var out bytes.Buffer
	for i, r := range resources {
		text, err := marshal(r, withMetadata)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", r.Key(), err)
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.Write(text)
	}
	return out.Bytes(), nil
}

func marshal(r registry.Resource, withMetadata bool) ([]byte, error) {
	text, err := registry.Encode(r)
	if err != nil {
		return nil, err
	}
	var root *yaml.Node
	rep := &report{}
	err = newJSONReader(rep, text, 1).each(func(n *node) { root = toYAML(n, !withMetadata) })
	if err != nil {
		return nil, err
	}
	if err := rep.err(); err != nil {
		return nil, err
	}
	return yaml.Dump(root, yaml.WithIndent(2), yaml.WithLineWidth(100), yaml.WithFlowSimpleCollections(false))
}

// toYAML builds the YAML of a value. Nothing is written where there is nothing,
// since Parse refuses a field without a value.
func toYAML(n *node, dropMetadata bool) *yaml.Node {
	switch n.kind {
	case mapNode:
		out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for i, k := range n.keys {
			if n.items[i].kind == nullNode || dropMetadata && k.name == "metadata" {
				continue
			}
			out.Content = append(out.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: k.name}, toYAML(n.items[i], false))
		}
		return out
	case listNode:
		out := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		simple := true
		for _, item := range n.items {
			simple = simple && item.kind == stringNode
			out.Content = append(out.Content, toYAML(item, false))
		}
		if simple && short(n.items) {
			out.Style = yaml.FlowStyle
		}
		return out
	case boolNode:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: n.text}
	case numberNode:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: n.text}
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: n.text}
	}
}

// short reports whether a list of strings fits on one line.
func short(items []*node) bool {
	size := 0
	for _, item := range items {
		size += len(item.text) + 2
	}
	return size <= 72
}
