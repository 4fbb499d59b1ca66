package demo

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Server is one sample MCP server.
type Server struct {
	// Name under which it is registered, unless the user chooses another.
	Name string
	mcp  *mcp.Server
}

// Handler serves MCP on every path, without sessions: both the stateless
// 2026-07-28 revision and clients of the older ones.
func (s Server) Handler() http.Handler {
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s.mcp },
		&mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
}

// StatefulHandler serves MCP with sessions, as 2025-11-25 and older know them.
func (s Server) StatefulHandler() http.Handler {
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s.mcp }, nil)
}

// Servers returns the sample servers: weather and notes, which a demonstration
// starts with, and clock, which is there to be added.
func Servers() []Server {
	return []Server{weather(), notes(), clock()}
}

type place struct {
	Place string `json:"place" jsonschema:"the name of a town"`
}

type note struct {
	Text string `json:"text" jsonschema:"the text of the note"`
}

type nothing struct{}

func weather() Server {
	s := newServer("weather")
	add(s, "get_forecast", "Tells the forecast for a place.", func(in place) string {
		return fmt.Sprintf("Tomorrow in %s: sunny, 21 °C.", in.Place)
	})
	add(s, "list_alerts", "Lists the weather alerts for a place.", func(in place) string {
		return fmt.Sprintf("No alerts for %s.", in.Place)
	})
	add(s, "set_alert", "Sets a weather alert for a place.", func(in place) string {
		return fmt.Sprintf("Alert set for %s.", in.Place)
	})
	return Server{Name: "weather", mcp: s}
}

func notes() Server {
	s := newServer("notes")
	add(s, "list_notes", "Lists the notes.", func(nothing) string { return "buy milk" })
	add(s, "add_note", "Adds a note.", func(in note) string { return "added: " + in.Text })
	return Server{Name: "notes", mcp: s}
}

func clock() Server {
	s := newServer("clock")
	add(s, "get_time", "Tells the time.", func(nothing) string { return time.Now().UTC().Format(time.RFC3339) })
	return Server{Name: "clock", mcp: s}
}

func newServer(name string) *mcp.Server {
	return mcp.NewServer(&mcp.Implementation{Name: name, Version: "1.0.0"}, nil)
}

// add registers a tool that answers with a text.
func add[In any](s *mcp.Server, name, description string, answer func(In) string) {
	mcp.AddTool(s, &mcp.Tool{Name: name, Description: description},
		func(_ context.Context, _ *mcp.CallToolRequest, in In) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: answer(in)}}}, nil, nil
		})
}
