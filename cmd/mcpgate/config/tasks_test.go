package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/config"
	"github.com/mcpgate/mcpgate/extauthz/task"
)

func TestTasksHaveBounds(t *testing.T) {
	t.Parallel()
	for field, bounds := range map[string]struct{ fit, beyond []string }{
		"max":             {[]string{"1", "10000000"}, []string{"0", "10000001"}},
		"maxPerPrincipal": {[]string{"1", "100000"}, []string{"0", "100001"}},
		"ttl":             {[]string{"1m", "720h"}, []string{"59s", "720h1s", "0s"}},
	} {
		for _, v := range bounds.fit {
			if _, err := config.Parse(fmt.Appendf(nil, "tasks: {%s: %s}", field, v)); err != nil {
				t.Errorf("%s: %s: %v", field, v, err)
			}
		}
		for _, v := range bounds.beyond {
			if _, err := config.Parse(fmt.Appendf(nil, "tasks: {%s: %s}", field, v)); err == nil || !strings.Contains(err.Error(), "tasks."+field+": ") {
				t.Errorf("%s: %s: %v", field, v, err)
			}
		}
	}
}

// The file shows what holds when nobody names it.
func TestDefaultTasksAreThoseOfTheTable(t *testing.T) {
	t.Parallel()
	got := config.Default().Tasks
	if got.Max != task.DefaultMax || got.MaxPerPrincipal != task.DefaultMaxPerPrincipal || time.Duration(got.TTL) != task.DefaultTTL {
		t.Errorf("%+v", got)
	}
}
