package token

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/mcpgate/mcpgate/extauthz/authserver"
)

// discover finds the key set of an issuer in its metadata.
func discover(ctx context.Context, f *authserver.Client, issuer string) (jwksURI string, err error) {
	_, jwksURI, err = fetchMetadata(ctx, f, issuer)
	return jwksURI, err
}

// fetchMetadata fetches the metadata of an issuer: RFC 8414 first, then OpenID
// Connect Discovery. A document counts only when its `issuer` is the
// configured one, byte for byte (RFC 8414 section 3.3), and it names a key set
// that may be fetched.
func fetchMetadata(ctx context.Context, f *authserver.Client, issuer string) (document []byte, jwksURI string, err error) {
	locations, ofLoopback, err := metadataURLs(issuer)
	if err != nil {
		return nil, "", err
	}
	var errs []error
	for _, location := range locations {
		data, err := f.Get(ctx, location, ofLoopback)
		if err == nil {
			jwksURI, err = readMetadata(data, issuer)
		}
		if err == nil {
			_, err = authserver.ParseURL(jwksURI, ofLoopback)
		}
		if err == nil {
			return data, jwksURI, nil
		}
		errs = append(errs, fmt.Errorf("metadata at %s: %w", location, err))
	}
	return nil, "", errors.Join(errs...)
}

// metadataURLs are the places of an issuer's metadata: the well-known path
// inserted before the issuer's own (RFC 8414 section 3.1), and appended to it
// (OpenID Connect Discovery 1.0 section 4).
func metadataURLs(issuer string) (locations []string, ofLoopback bool, err error) {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil, false, fmt.Errorf("read issuer: %w", err)
	}
	ofLoopback = authserver.IsLoopback(u)
	if _, err := authserver.ParseURL(issuer, ofLoopback); err != nil {
		return nil, false, fmt.Errorf("read issuer: %w", err)
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return nil, false, errors.New("read issuer: a query or a fragment has no metadata")
	}
	origin := u.Scheme + "://" + u.Host
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	return []string{
		origin + "/.well-known/oauth-authorization-server" + path,
		origin + path + "/.well-known/openid-configuration",
	}, ofLoopback, nil
}

func readMetadata(data []byte, issuer string) (jwksURI string, err error) {
	var doc struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return "", fmt.Errorf("read metadata: %w", err)
	}
	switch {
	case doc.Issuer != issuer:
		return "", fmt.Errorf("read metadata: issuer is %s, not the configured one", quote(doc.Issuer))
	case doc.JWKSURI == "":
		return "", errors.New("read metadata: no jwks_uri")
	}
	return doc.JWKSURI, nil
}
