package command

import (
	"io"
	"log/slog"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/config"
	"github.com/mcpgate/mcpgate/extauthz/secret"
	"github.com/mcpgate/mcpgate/registry"
)

// newLogger returns the program's logger. The configuration is valid.
func newLogger(c config.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo
	}
	opt := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opt))
	}
	return slog.New(slog.NewTextHandler(w, opt))
}

func resolveSecret(ref registry.SecretRef) (string, error) {
	return secret.New(secret.Options{}).Resolve(ref)
}
