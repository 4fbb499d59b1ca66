package manifest

import "strconv"

// node is a value as it stands in the input, of either syntax.
type node struct {
	kind nodeKind
	line int
	// text is the value of a scalar.
	text string
	// items are those of a list, or the values of a mapping.
	items []*node
	// keys are those of a mapping, in order, duplicates included.
	keys []key
}

type key struct {
	name string
	line int
}

type nodeKind uint8

const (
	// unreadable values have been reported and are left out.
	unreadable nodeKind = iota
	nullNode
	boolNode
	numberNode
	stringNode
	listNode
	mapNode
)

// String names the kind in a message.
func (k nodeKind) String() string {
	switch k {
	case nullNode:
		return "nothing"
	case boolNode:
		return "true or false"
	case numberNode:
		return "a number"
	case stringNode:
		return "a string"
	case listNode:
		return "a list"
	case mapNode:
		return "a mapping"
	case unreadable:
	}
	return "something unreadable"
}

// maxDepth bounds the nesting of a document. The types need 6.
const maxDepth = 32

// join is the path of a member.
func join(path, name string) string {
	if !isIdentifier(name) {
		name = quote(name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// index is the path of an element.
func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func isIdentifier(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && c != '_' && c != '-' && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}
