package registry

import "time"

// MaxResourceBytes is the largest encoded size of one resource.
const MaxResourceBytes = 1 << 20

// Bounds of the fields. They are far above what people write; they keep what
// one document can cost Envoy, the decision and a challenge header bounded.
const (
	maxNameBytes        = 63
	maxScopeBytes       = 128
	maxGroupBytes       = 256
	maxTitleBytes       = 256
	maxDescriptionBytes = 4096
	maxTagBytes         = 64
	maxURLBytes         = 2048
	maxPathBytes        = 4096
	maxAudienceBytes    = 512
	maxHeaderBytes      = 128
	maxSchemeBytes      = 64
	maxEnvNameBytes     = 256
	maxTypeBytes        = 64
	maxClaimBytes       = 128
	maxPatternBytes     = 1024
	maxMethodBytes      = 128
	maxKeyIDBytes       = 64
	maxClientIDBytes    = 512
	// maxIdentityBytes is what a claim that identifies a caller may have.
	maxIdentityBytes = 1024

	maxTags      = 64
	maxIssuers   = 64
	maxAudiences = 64
	maxBaseline  = 32
	maxPaths     = 16
	maxPathKeys  = 8
	maxIncludes  = 256
	maxRules     = 256
	maxServers   = 1024
	maxPatterns  = 1024
	maxMethods   = 128
	maxScopes    = 256

	minConnectTimeout = 10 * time.Millisecond
	maxConnectTimeout = time.Minute
	minIdleTimeout    = 100 * time.Millisecond
	maxIdleTimeout    = 24 * time.Hour
	minRefresh        = time.Second
	maxRefresh        = 24 * time.Hour
	maxMaxStale       = 7 * 24 * time.Hour

	sessionKeyBytes = 32
)
