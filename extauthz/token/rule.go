package token

import "github.com/mcpgate/mcpgate/extauthz"

// The rules that refuse a token.
const (
	ruleMalformed    extauthz.Rule = "token-malformed"
	ruleAlgorithm    extauthz.Rule = "token-algorithm"
	ruleType         extauthz.Rule = "token-type"
	ruleIssuer       extauthz.Rule = "token-issuer"
	ruleKeyUnknown   extauthz.Rule = "token-key-unknown"
	ruleSignature    extauthz.Rule = "token-signature"
	ruleExpired      extauthz.Rule = "token-expired"
	ruleNotYetValid  extauthz.Rule = "token-not-yet-valid"
	ruleAudience     extauthz.Rule = "token-audience"
	ruleSubject      extauthz.Rule = "token-subject"
	ruleClaims       extauthz.Rule = "token-claims"
	ruleUnavailable  extauthz.Rule = "token-keys-unavailable"
	ruleVerifierBusy extauthz.Rule = "token-verifier-busy"
)
