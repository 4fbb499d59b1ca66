package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/config"
	"github.com/mcpgate/mcpgate/extauthz/check"
	"github.com/mcpgate/mcpgate/extauthz/listfilter"
	"github.com/mcpgate/mcpgate/extauthz/rpcbody"
	"github.com/mcpgate/mcpgate/xds"
)

// Each limit can be set to its smallest and to its largest value, and to
// nothing beyond.
func TestLimitsHaveBounds(t *testing.T) {
	t.Parallel()
	for field, bounds := range map[string]struct{ low, high, step int }{
		"headerBytes":         {4 << 10, 256 << 10, 1 << 10},
		"headerCount":         {32, 1024, 1},
		"bodyDepth":           {8, 512, 1},
		"nameBytes":           {16, 4 << 10, 1},
		"uriBytes":            {64, 64 << 10, 1},
		"listItems":           {1, 1_000_000, 1},
		"listReplyBytes":      {4 << 10, 256 << 20, 1},
		"streamsPerPrincipal": {1, 100_000, 1},
		"checksInFlight":      {1, 1_000_000, 1},
	} {
		text := func(v int) []byte { return fmt.Appendf(nil, "limits: {%s: %d}", field, v) }
		for _, v := range []int{bounds.low, bounds.high} {
			if _, err := config.Parse(text(v)); err != nil {
				t.Errorf("%s: %v", text(v), err)
			}
		}
		for _, v := range []int{bounds.low - bounds.step, bounds.high + bounds.step} {
			if _, err := config.Parse(text(v)); err == nil || !strings.Contains(err.Error(), "limits."+field+": ") {
				t.Errorf("%s: %v", text(v), err)
			}
		}
	}
	if _, err := config.Parse([]byte("limits: {headerBytes: 8193}")); err == nil || !strings.Contains(err.Error(), "whole KiB") {
		t.Errorf("no whole KiB: %v", err)
	}
}

// The file shows the limits that hold when nobody names one.
func TestDefaultLimitsAreThoseOfTheParts(t *testing.T) {
	t.Parallel()
	want := config.Limits{
		HeaderBytes:         xds.DefaultMaxHeaderBytes,
		HeaderCount:         xds.DefaultMaxHeaders,
		BodyDepth:           rpcbody.MaxDepth,
		NameBytes:           rpcbody.MaxName,
		URIBytes:            rpcbody.MaxURI,
		ListItems:           listfilter.DefaultMaxItems,
		ListReplyBytes:      listfilter.DefaultMaxReplyBytes,
		StreamsPerPrincipal: listfilter.DefaultMaxStreams,
		ChecksInFlight:      check.DefaultMaxInFlight,
	}
	if got := config.DefaultLimits(); got != want {
		t.Errorf("defaults %+v, want %+v", got, want)
	}
}
