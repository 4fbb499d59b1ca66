package config

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/mcpgate/mcpgate/registry"
)

// Config is mcpgate.yaml. Default gives the values of absent fields.
type Config struct {
	// DataDir holds the registry's file and the sockets.
	DataDir string `json:"dataDir"`
	// ExternalURL is where clients reach the gateway; every advertised URL is
	// built from it. No trailing slash.
	ExternalURL string   `json:"externalURL"`
	Gateway     Gateway  `json:"gateway"`
	Store       Store    `json:"store"`
	XDS         Endpoint `json:"xds"`
	ExtAuthz    ExtAuthz `json:"extAuthz"`
	Web         Endpoint `json:"web"`
	Admin       Admin    `json:"admin"`
	Sessions    Sessions `json:"sessions"`
	Tasks       Tasks    `json:"tasks"`
	Limits      Limits   `json:"limits"`
	Envoy       Envoy    `json:"envoy"`
	Audit       Audit    `json:"audit"`
	Log         Log      `json:"log"`
}

// Gateway is Envoy's public listener.
type Gateway struct {
	Listen string  `json:"listen"`
	TLS    CertTLS `json:"tls"`
	// Hosts are the Host names answered, without ports; when empty, that of
	// ExternalURL, and the loopback names on a loopback listener.
	Hosts           []string `json:"hosts"`
	MaxRequestBytes Size     `json:"maxRequestBytes"`
	// AllowedOrigins of browsers, "http://localhost:*" for every port; when
	// empty, that of ExternalURL, and loopback origins on a loopback listener.
	AllowedOrigins []string `json:"allowedOrigins"`
	// Denial is "http" or "jsonrpc": how a denial that no scope can cure looks.
	Denial string `json:"denial"`
	// AccessLog is the path of Envoy's access log, "-" for Envoy's standard
	// output; empty: off.
	AccessLog string `json:"accessLog"`
}

// CertTLS is a certificate and its key, PEM files.
type CertTLS struct {
	CertFile string `json:"certFile"`
	KeyFile  string `json:"keyFile"`
}

// Store says where the registry is kept.
type Store struct {
	Type string    `json:"type"`
	Bolt BoltStore `json:"bolt"`
}

// BoltStore is the embedded store.
type BoltStore struct {
	// Path is <dataDir>/registry.db when empty.
	Path string `json:"path"`
}

// Endpoint is where the program serves Envoy: "unix:/path", or "host:port",
// which needs TLS with client certificates unless Insecure.
type Endpoint struct {
	Listen   string    `json:"listen"`
	TLS      MutualTLS `json:"tls"`
	Insecure bool      `json:"insecure"`
}

// MutualTLS is the server's certificate and the authority of its clients.
type MutualTLS struct {
	CertFile     string `json:"certFile"`
	KeyFile      string `json:"keyFile"`
	ClientCAFile string `json:"clientCAFile"`
}

// ExtAuthz is the decision service.
type ExtAuthz struct {
	Endpoint
	// Timeout is how long Envoy waits for a decision before it refuses.
	Timeout registry.Duration `json:"timeout"`
}

// Admin is the administration API.
type Admin struct {
	Listen   string             `json:"listen"`
	TLS      CertTLS            `json:"tls"`
	Insecure bool               `json:"insecure"`
	Token    registry.SecretRef `json:"token"`
}

// Sessions says how long the keys live that bind MCP sessions to their owner.
type Sessions struct {
	// Rotate is the age of the newest key at which a new one is made.
	Rotate registry.Duration `json:"rotate"`
	// Keep is the age at which a key goes; sessions older than that end.
	Keep registry.Duration `json:"keep"`
}

// Tasks says how long, and for how many MCP tasks, the gateway remembers who
// started them.
type Tasks struct {
	// Max bounds all tasks; past it none can be started.
	Max int `json:"max"`
	// MaxPerPrincipal bounds those of one issuer, subject and client; past it,
	// the oldest one can no longer be used.
	MaxPerPrincipal int `json:"maxPerPrincipal"`
	// TTL bounds the ttl that servers give their tasks.
	TTL registry.Duration `json:"ttl"`
}

func (t Tasks) validate(add addFunc) {
	if t.Max < 1 || t.Max > 10_000_000 {
		add("tasks.max", "%d is not between 1 and 10000000", t.Max)
	}
	if t.MaxPerPrincipal < 1 || t.MaxPerPrincipal > 100_000 {
		add("tasks.maxPerPrincipal", "%d is not between 1 and 100000", t.MaxPerPrincipal)
	}
	if ttl := time.Duration(t.TTL); ttl < time.Minute || ttl > 30*24*time.Hour {
		add("tasks.ttl", "%s is not between 1m and 720h", ttl)
	}
}

// Envoy is the Envoy that `up` runs.
type Envoy struct {
	// Path of the binary; found as envoy.Find says when empty.
	Path string `json:"path"`
	// Concurrency is the number of workers; 0 means one a core.
	Concurrency int `json:"concurrency"`
	// AdminListen is Envoy's own admin address; a Unix socket in DataDir when
	// empty.
	AdminListen string `json:"adminListen"`
	LogLevel    string `json:"logLevel"`
}

// Audit is the stream of decisions.
type Audit struct {
	// Path of a file of JSON lines; "-" is standard output; empty: off.
	Path string `json:"path"`
}

// Log is the program's own log.
type Log struct {
	Level  string `json:"level"`
	Format string `json:"format"`
}

// Size is a number of bytes, written as "1MiB", "64KiB" or a plain number.
type Size int64

// MarshalJSON implements json.Marshaler.
func (s Size) MarshalJSON() ([]byte, error) {
	switch {
	case s != 0 && s%(1<<20) == 0:
		return json.Marshal(fmt.Sprintf("%dMiB", s>>20))
	case s != 0 && s%(1<<10) == 0:
		return json.Marshal(fmt.Sprintf("%dKiB", s>>10))
	}
	return json.Marshal(int64(s))
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Size) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	number, shift := text, 0
	for suffix, sh := range map[string]int{"KiB": 10, "MiB": 20, "GiB": 30} {
		if n, ok := strings.CutSuffix(text, suffix); ok {
			number, shift = n, sh
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64>>shift {
		return fmt.Errorf(`%q is not a size such as "1MiB"`, text)
	}
	*s = Size(n << shift)
	return nil
}
