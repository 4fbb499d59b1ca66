package exchange

import (
	"context"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/mcpgate/mcpgate/extauthz"
)

// Names of RFC 8693.
const (
	grantType       = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token" //nolint:gosec // G101 takes the name of a type for a token
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
)

// Bounds of what is believed of an answer.
const (
	// maxToken is the size of the largest token, in bytes.
	maxToken = 16 << 10
	// unstated is how long a token is used that does not say how long it lives,
	// and most how long any is.
	unstated = time.Minute
	most     = time.Hour
	// margin is the end of a token's life in which it is not used any more, for
	// the way to the upstream and for clocks: a fifth of it, or this.
	margin = 30 * time.Second
)

// trade makes one exchange.
func (c *Client) trade(ctx context.Context, r Request) result {
	x := r.Exchange
	secret, err := c.secrets.Resolve(x.ClientSecret)
	if err != nil {
		return result{err: failf(extauthz.RuleExchangeUnavailable, "%v", err)}
	}
	form := url.Values{
		"grant_type":           {grantType},
		"subject_token":        {r.Token},
		"subject_token_type":   {typeAccessToken},
		"requested_token_type": {typeAccessToken},
	}
	if x.Audience != "" {
		form.Set("audience", x.Audience)
	}
	if len(x.Scopes) > 0 {
		form.Set("scope", strings.Join(x.Scopes, " "))
	}
	asked := c.now()
	answer, err := c.http.Post(ctx, x.TokenURL, form, x.ClientID, secret)
	if err != nil {
		return result{err: failf(extauthz.RuleExchangeUnavailable, "%v", err)}
	}
	token, life, failure := read(answer.Status, answer.Body, x.TokenURL)
	if failure != nil {
		return result{err: failure}
	}
	if token == r.Token {
		return result{err: failf(extauthz.RuleExchangeRefused, "%s answers with the client's own token", x.TokenURL)}
	}
	until := asked.Add(life - min(margin, life/5))
	if end := r.Caller.ExpiresAt; end.Before(until) {
		until = end
	}
	return result{token: token, until: until}
}

// read reads the answer of a token endpoint (RFC 8693 section 2.2). Nothing of
// it is repeated but the error code, which is the server's word for the
// operator.
func read(status int, body []byte, where string) (token string, life time.Duration, err *Error) {
	var a struct {
		AccessToken     string   `json:"access_token"`
		IssuedTokenType string   `json:"issued_token_type"`
		TokenType       string   `json:"token_type"`
		ExpiresIn       *float64 `json:"expires_in"`
		Error           string   `json:"error"`
	}
	// Strict: duplicates, other cases and invalid UTF-8 are errors or unread.
	cause := json.Unmarshal(body, &a)
	switch {
	case status == http.StatusTooManyRequests || status >= http.StatusInternalServerError:
		return "", 0, failf(extauthz.RuleExchangeUnavailable, "%s: status %d", where, status)
	case status != http.StatusOK:
		if cause != nil {
			a.Error = ""
		}
		return "", 0, failf(extauthz.RuleExchangeRefused, "%s: status %d, error %s", where, status, quote(a.Error))
	case cause != nil:
		// The cause may repeat what was read.
		return "", 0, failf(extauthz.RuleExchangeRefused, "%s: the answer is not a strict JSON object of the members expected", where)
	case !isBearerToken(a.AccessToken):
		return "", 0, failf(extauthz.RuleExchangeRefused, "%s: access_token is missing or no bearer token", where)
	case a.IssuedTokenType != typeAccessToken && a.IssuedTokenType != typeJWT:
		return "", 0, failf(extauthz.RuleExchangeRefused, "%s: issued_token_type is %s", where, quote(a.IssuedTokenType))
	case !strings.EqualFold(a.TokenType, "Bearer"):
		return "", 0, failf(extauthz.RuleExchangeRefused, "%s: token_type is %s", where, quote(a.TokenType))
	case a.ExpiresIn == nil:
		return a.AccessToken, unstated, nil
	case !(*a.ExpiresIn > 0) || math.IsInf(*a.ExpiresIn, 0):
		return "", 0, failf(extauthz.RuleExchangeRefused, "%s: expires_in is not above 0", where)
	}
	return a.AccessToken, time.Duration(min(*a.ExpiresIn, most.Seconds()) * float64(time.Second)), nil
}

// isBearerToken reports whether s is a b64token (RFC 6750 section 2.1): it
// goes into a header as it is.
func isBearerToken(s string) bool {
	body := strings.TrimRight(s, "=")
	if body == "" || len(s) > maxToken {
		return false
	}
	for i := range len(body) {
		switch c := body[i]; {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', strings.IndexByte("-._~+/", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// quote shows a text of the server in a Reason: escaped and short.
func quote(s string) string {
	const limit = 80
	return strconv.QuoteToASCII(s[:min(len(s), limit)])
}
