package rpcbody

import "strconv"

// A visitor reads the value at i of the named member of an object at the given
// depth. It returns the index behind the value, or a negative number when a
// rule is broken. name is valid during the call only.
type visitor func(s *scanner, name string, i, depth int) int

// The members that are read, by the object they are in. A switch in each
// visitor reads them; the lists serve to find names that fold to one.
const (
	metaVersion      = "io.modelcontextprotocol/protocolVersion"
	metaCapabilities = "io.modelcontextprotocol/clientCapabilities"
	tasksExtension   = "io.modelcontextprotocol/tasks"
)

func (s *scanner) envelope(name string, i, depth int) int {
	m := s.m
	switch name {
	case "jsonrpc":
		return s.jsonrpc(i)
	case "id":
		return s.id(i)
	case "method":
		var f Field
		end := s.field(i, &f, MaxMethod)
		if end < 0 {
			return s.refail(RuleMethod)
		}
		if f.Value == "" {
			return s.fail(RuleMethod, i)
		}
		m.Method = f.Value
		return end
	case "params":
		return s.within(i, depth, RuleParams, (*scanner).params)
	case "result":
		s.hasResult = true
		return s.within(i, depth, RuleResult, nil)
	case "error":
		s.hasError = true
		return s.within(i, depth, RuleResult, nil)
	}
	return s.other(name, i, depth, "jsonrpc", "id", "method", "params", "result", "error")
}

func (s *scanner) params(name string, i, depth int) int {
	m := s.m
	switch name {
	case "name":
		return s.field(i, &m.Name, s.limits.Name)
	case "uri":
		return s.field(i, &m.URI, s.limits.URI)
	case "taskId":
		return s.field(i, &m.TaskID, MaxTaskID)
	case "protocolVersion":
		return s.field(i, &m.Version, MaxVersion)
	case "ref":
		return s.within(i, depth, RuleMemberType, (*scanner).ref)
	case "_meta":
		return s.within(i, depth, RuleMemberType, (*scanner).meta)
	case "notifications":
		return s.within(i, depth, RuleMemberType, (*scanner).notifications)
	case "task":
		// That it is there is all that is asked: null is, for some servers.
		m.TaskRequested = true
		return s.value(i, depth)
	case "arguments": // the common one, and none that the others fold to
		return s.value(i, depth)
	}
	return s.other(name, i, depth, "name", "uri", "taskId", "protocolVersion", "ref", "_meta", "notifications", "task")
}

func (s *scanner) ref(name string, i, depth int) int {
	r := &s.m.Ref
	switch name {
	case "type":
		return s.field(i, &r.Type, MaxVersion)
	case "name":
		return s.field(i, &r.Name, s.limits.Name)
	case "uri":
		return s.field(i, &r.URI, s.limits.URI)
	}
	return s.other(name, i, depth, "type", "name", "uri")
}

func (s *scanner) meta(name string, i, depth int) int {
	switch name {
	case metaVersion:
		return s.field(i, &s.m.MetaVersion, MaxVersion)
	case metaCapabilities:
		return s.within(i, depth, RuleMemberType, (*scanner).capabilities)
	}
	return s.other(name, i, depth, metaVersion, metaCapabilities)
}

func (s *scanner) capabilities(name string, i, depth int) int {
	if name == "extensions" {
		return s.within(i, depth, RuleMemberType, (*scanner).extensions)
	}
	return s.other(name, i, depth, "extensions")
}

func (s *scanner) extensions(name string, i, depth int) int {
	if name == tasksExtension {
		s.m.TasksCapability = true
		return s.value(i, depth)
	}
	return s.other(name, i, depth, tasksExtension)
}

func (s *scanner) notifications(name string, i, depth int) int {
	switch name {
	case "resourceSubscriptions":
		return s.list(i, &s.m.Resources, s.limits.URI)
	case "taskIds":
		return s.list(i, &s.m.TaskIDs, MaxTaskID)
	}
	return s.other(name, i, depth, "resourceSubscriptions", "taskIds")
}

// other reads a member that stands beside the known ones without being one of
// them.
func (s *scanner) other(name string, i, depth int, known ...string) int {
	if hasControl(name) {
		return s.fail(RuleNameControl, s.nameAt)
	}
	if name == "__proto__" {
		return s.fail(RuleNameProto, s.nameAt)
	}
	for _, k := range known {
		if foldsTo(name, k) {
			return s.fail(RuleNameFold, s.nameAt)
		}
	}
	return s.value(i, depth)
}

// within reads the object at i, member by member with visit; anything else
// than an object breaks rule.
func (s *scanner) within(i, depth int, rule string, visit visitor) int {
	if i >= len(s.body) {
		return s.fail(RuleTruncated, i)
	}
	if s.body[i] != '{' {
		return s.fail(rule, i)
	}
	return s.object(i+1, depth+1, visit)
}

// field reads the string at i of at most limit bytes.
func (s *scanner) field(i int, f *Field, limit int) int {
	start, end, escaped := s.quoted(i, RuleMemberType)
	if end < 0 {
		return -1
	}
	v, ok := s.text(start, end, escaped, limit)
	if !ok {
		return s.fail(RuleMemberLength, i)
	}
	if hasControl(v) {
		return s.fail(RuleMemberControl, i)
	}
	f.Value, f.Present = v, true
	return end + 1
}

// list reads the array at i of at most MaxList strings of at most limit bytes.
// It holds no arrays or objects, so its depth is within what field checks.
func (s *scanner) list(i int, into *[]string, limit int) int {
	b := s.body
	if i >= len(b) {
		return s.fail(RuleTruncated, i)
	}
	if b[i] != '[' {
		return s.fail(RuleMemberType, i)
	}
	i = s.space(i + 1)
	if i < len(b) && b[i] == ']' {
		return i + 1
	}
	for {
		if i < len(b) && (b[i] == ']' || b[i] == ',') {
			return s.fail(RuleComma, i)
		}
		if len(*into) == MaxList {
			return s.fail(RuleMemberLength, i)
		}
		var f Field
		if i = s.field(i, &f, limit); i < 0 {
			return -1
		}
		*into = append(*into, f.Value)
		i = s.space(i)
		switch {
		case i >= len(b):
			return s.fail(RuleTruncated, i)
		case b[i] == ']':
			return i + 1
		case b[i] != ',':
			return s.unexpected(i)
		}
		i = s.space(i + 1)
	}
}

func (s *scanner) jsonrpc(i int) int {
	start, end, escaped := s.quoted(i, RuleJSONRPC)
	if end < 0 {
		return -1
	}
	if v, ok := s.text(start, end, escaped, len("2.0")); !ok || v != "2.0" {
		return s.fail(RuleJSONRPC, i)
	}
	s.hasJSONRPC = true
	return end + 1
}

// id reads the id at i. Its text in the Message is raw, so that an answer can
// repeat it without an encoder.
func (s *scanner) id(i int) int {
	b := s.body
	if i >= len(b) {
		return s.fail(RuleTruncated, i)
	}
	var end int
	switch c := b[i]; {
	case c == '"':
		start, quote, escaped := s.quoted(i, RuleID)
		if quote < 0 {
			return -1
		}
		if _, ok := s.text(start, quote, escaped, MaxID); !ok {
			return s.fail(RuleID, i)
		}
		end = quote + 1
	case c == 'n':
		if end = s.literal(i, "null", nullTail); end < 0 {
			return -1
		}
		s.hasID = true
		s.m.ID = "null"
		return end
	case c == '-' || '0' <= c && c <= '9':
		if end = s.number(i); end < 0 {
			return -1
		}
		// A fraction, an exponent or too many digits do not parse.
		n, err := strconv.ParseInt(alias(b[i:end]), 10, 64)
		if err != nil || n > maxInteger || n < -maxInteger || n == 0 && c == '-' {
			return s.fail(RuleID, i)
		}
	default:
		return s.fail(RuleID, i)
	}
	s.hasID = true
	s.m.ID = alias(b[i:end])
	s.replyID = s.m.ID
	return end
}
