package extauthz

import "strings"

// Method is what the gateway knows about one method that a client may send.
type Method struct {
	Name string
	// Versions in which a client may send it.
	Versions Versions
	// Notification is true for a method that is sent without an id, and only so.
	Notification bool
	// Target says where in the message the thing that is used is named.
	Target Target
	// Grant says which grant governs it.
	Grant Grant
	// Reply is the treatment of its reply.
	Reply Reply
	// NameRequired is true where the modern era demands the header Mcp-Name.
	NameRequired bool
	// StartsTask is true for a method that a server may answer with a task.
	StartsTask bool
}

// Target is a place in a message.
type Target uint8

// The places.
const (
	NoTarget Target = iota
	// TargetName is params.name.
	TargetName
	// TargetURI is params.uri.
	TargetURI
	// TargetTask is params.taskId.
	TargetTask
	// TargetRef is params.ref: the prompt or the resource it names.
	TargetRef
	// TargetSubscriptions is params.notifications: any number of resources and
	// tasks.
	TargetSubscriptions
)

// Grant is the part of a registry.Rule that allows a method.
type Grant uint8

// The grants. The zero Grant allows nothing.
const (
	// GrantNone: no rule can allow the method.
	GrantNone Grant = iota
	// GrantServer: any rule that names the server.
	GrantServer
	// GrantTools, GrantPrompts, GrantResources: a pattern that covers the target.
	GrantTools
	GrantPrompts
	GrantResources
	// GrantRef: prompts or resources, whichever the target is.
	GrantRef
	// GrantSubscriptions: any rule that names the server, and resources for
	// each target.
	GrantSubscriptions
	// GrantTask: the principal that started the task.
	GrantTask
	// GrantMethods: `methods`, by exact name.
	GrantMethods
)

const (
	allVersions = Legacy | Modern
	// tasks of 2025-11-25 are part of the core, later ones an extension.
	taskVersions = V20251125 | Modern

	methodInitialize = "initialize"
	methodDiscover   = "server/discover"
	// notificationPrefix: a notification of any name in it is governed by
	// GrantServer, in every version.
	notificationPrefix = "notifications/"
	// taskPrefix is reserved for the tasks extension (SEP-2663): no rule grants
	// a method in it that the table does not have.
	taskPrefix = "tasks/"
	// methodTaskStatus tells a server about a task that the client runs for it.
	methodTaskStatus = "notifications/tasks/status"
)

// methods is the one table of the methods of clients from MCP 2024-11-05 to
// 2026-07-28 and of the extensions known by then. What is neither here nor
// named in a rule's `methods` is refused.
var methods = [...]Method{
	{Name: methodInitialize, Versions: Legacy, Grant: GrantServer, Reply: Session},
	{Name: methodDiscover, Versions: Modern, Grant: GrantServer},
	{Name: "ping", Versions: Legacy, Grant: GrantServer},
	{Name: "logging/setLevel", Versions: Legacy, Grant: GrantServer},

	{Name: "tools/list", Versions: allVersions, Grant: GrantServer, Reply: List},
	{Name: "prompts/list", Versions: allVersions, Grant: GrantServer, Reply: List},
	{Name: "resources/list", Versions: allVersions, Grant: GrantServer, Reply: List},
	{Name: "resources/templates/list", Versions: allVersions, Grant: GrantServer, Reply: List},

	{Name: "tools/call", Versions: allVersions, Target: TargetName, Grant: GrantTools, NameRequired: true, StartsTask: true},
	{Name: "prompts/get", Versions: allVersions, Target: TargetName, Grant: GrantPrompts, NameRequired: true},
	{Name: "resources/read", Versions: allVersions, Target: TargetURI, Grant: GrantResources, NameRequired: true},
	{Name: "resources/subscribe", Versions: Legacy, Target: TargetURI, Grant: GrantResources},
	{Name: "resources/unsubscribe", Versions: Legacy, Target: TargetURI, Grant: GrantResources},
	{Name: "subscriptions/listen", Versions: Modern, Target: TargetSubscriptions, Grant: GrantSubscriptions, Reply: Resume},
	{Name: "completion/complete", Versions: allVersions, Target: TargetRef, Grant: GrantRef},

	{Name: "tasks/get", Versions: taskVersions, Target: TargetTask, Grant: GrantTask, NameRequired: true},
	{Name: "tasks/cancel", Versions: taskVersions, Target: TargetTask, Grant: GrantTask, NameRequired: true},
	{Name: "tasks/result", Versions: V20251125, Target: TargetTask, Grant: GrantTask},
	{Name: "tasks/update", Versions: Modern, Target: TargetTask, Grant: GrantTask, NameRequired: true},
	{Name: "tasks/list", Versions: V20251125, Grant: GrantNone},

	{Name: "skills/list", Versions: Modern, Grant: GrantMethods},
	{Name: "skills/get", Versions: Modern, Grant: GrantMethods},
	{Name: "resources/directory/read", Versions: Modern, Grant: GrantMethods},

	{Name: "notifications/initialized", Versions: Legacy, Notification: true, Grant: GrantServer},
	{Name: "notifications/roots/list_changed", Versions: Legacy, Notification: true, Grant: GrantServer},
	{Name: "notifications/cancelled", Versions: allVersions, Notification: true, Grant: GrantServer},
	{Name: "notifications/progress", Versions: allVersions, Notification: true, Grant: GrantServer},
	{Name: methodTaskStatus, Versions: V20251125, Notification: true, Grant: GrantServer},
}

// LookupMethod finds a method of the table, byte for byte. Any other name
// under "notifications/" is a notification that GrantServer governs.
func LookupMethod(name string) (Method, bool) {
	for i := range methods {
		if methods[i].Name == name {
			return methods[i], true
		}
	}
	if strings.HasPrefix(name, notificationPrefix) {
		return Method{Name: name, Versions: allVersions, Notification: true, Grant: GrantServer}, true
	}
	return Method{}, false
}

// Methods lists the table.
func Methods() []Method { return append([]Method(nil), methods[:]...) }
