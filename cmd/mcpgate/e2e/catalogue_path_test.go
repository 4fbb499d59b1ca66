package e2e_test

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/demo"
	"github.com/mcpgate/mcpgate/envoy"
)

// pathAdvisories are section 4.2: what a path, a header or the protocol means
// to whom.
func pathAdvisories() []advisory {
	both := slices.Concat(pathRows(), pathRows2())
	wire := slices.Concat(wireRows(), wireRows2())
	header := headerRows()
	// A request without a token that must not pass for what its headers say.
	anonymous := func(name string, edits ...string) row {
		return row{name: name, http1: post1("/a/mcp", append([]string{"-Authorization"}, edits...)...), body: goodCall, want: refused(401, "token-missing")}
	}
	passes := func(name string, want verdict, edits ...string) row {
		return row{name: name, http1: post1("/a/mcp", edits...), body: goodCall, want: want}
	}
	good := func() verdict { return allowed("a", "/up/a") }
	return []advisory{
		{
			section: "4.2", ids: "CVE-2026-26205", bug: "opa-envoy: the path is parsed as a URI, and //admin/x loses a segment",
			rows: pick(both, "double slash", "slashes everywhere", ": dot segment", "absolute form", "no slash"),
		},
		{
			section: "4.2", ids: "CVE-2026-73553, CVE-2026-73551, CVE-2026-73511", bug: "Envoy: path parameters and /..;/ pass the access rules",
			rows: pick(both, "parameter"),
		},
		{
			section: "4.2", ids: "CVE-2021-29492, CVE-2019-9901", bug: "Envoy: escaped slashes and dot segments reach another route than the rules judged",
			rows:  pick(both, "escaped", "dot segment", "up and down", "above the root", "backslash", "through b", "from a to b", "not hexadecimal", "UTF-8", "escape of another kind"),
			tests: []string{"TestValidateRefusesAListener"},
		},
		{
			section: "4.2", ids: "CVE-2021-32779, CVE-2021-39156, CVE-2023-47106, CVE-2026-41059", bug: "a #fragment confuses the matcher",
			rows: pick(both, "fragment", "escaped number sign"),
		},
		{
			section: "4.2", ids: "CVE-2025-54576, CVE-2026-40575", bug: "oauth2-proxy: what needs no token is told by the query or by X-Forwarded-Uri",
			rows: append(append(pick(both, "E2 §5: query", "out of healthz", "out of the metadata", "endpoint in the query"), pick(header, "x-original-url", "x-original-path", "x-rewrite-url", "x-forwarded-prefix")...),
				anonymous("X-Forwarded-Uri", "X-Forwarded-Uri: /healthz"),
				anonymous("X-Original-Uri", "X-Original-Uri: /.well-known/oauth-protected-resource/a/mcp"),
				row{name: "health in the query", http1: post1("/a/mcp?/healthz", "-Authorization"), body: goodCall, want: refused(401, "token-missing")},
				row{name: "metadata in the query", http1: post1("/a/mcp?x=/.well-known/", "-Authorization"), body: goodCall, want: refused(401, "token-missing")},
				row{name: "out of healthz without a token", http1: post1("/healthz/../a/mcp", "-Authorization"), body: goodCall, want: refused(401, "token-missing")},
				row{name: "out of the metadata without a token", http1: post1("/.well-known/%2e%2e/a/mcp", "-Authorization"), body: goodCall, want: refused(401, "token-missing")}),
			tests: []string{"TestExtraMetadataDoesNotDecide", "TestLiveFixedScopesDoNotAskTheAuthorizationService"},
		},
		{
			section: "4.2", ids: "CVE-2026-34457", bug: "oauth2-proxy: a health checker's User-Agent needs no token",
			rows: []row{
				anonymous("Google", "User-Agent: GoogleHC/1.0"),
				anonymous("Amazon", "User-Agent: ELB-HealthChecker/2.0"),
				anonymous("Kubernetes", "User-Agent: kube-probe/1.31"),
				anonymous("Envoy", "User-Agent: Envoy/HC", "X-Envoy-Internal: true"),
				anonymous("internal address", "X-Forwarded-For: 127.0.0.1", "X-Real-Ip: 127.0.0.1"),
				anonymous("preflight that is none", "Access-Control-Request-Method: POST"),
			},
		},
		{
			section: "4.2", ids: "CVE-2026-65600, CVE-2026-67309, CVE-2026-40912, CVE-2026-48020, CVE-2025-66490", bug: "Traefik: the path is rewritten after it was authorised",
			rows:  append(pick(both, "from a to b", "through b", "back at the end"), pick(header, "x-envoy-original-path")...),
			tests: []string{"TestLiveOnlyADecisionForThisGenerationReachesTheUpstream", "TestLiveHostIsThatOfTheUpstreamURL"},
		},
		{
			section: "4.2", ids: "CVE-2026-27588, CVE-2026-27587", bug: "Caddy: host names match by case when there are many; an escape switches folding off",
			rows: append(append(pick(both, "in capitals"), pick(wire, "Host in capitals", "Host with a dot", "foreign Host", "bad Host", "no Host", "authority")...),
				row{name: "host in punycode", http1: post1("/a/mcp", "-Host", "Host: xn--gw-test-.test"), body: goodCall, want: unasked(404)},
				row{name: "host with an escape", http1: post1("/a/mcp", "-Host", "Host: gw%2etest"), body: goodCall, want: unasked(404)},
				row{name: "host with a user", http1: post1("/a/mcp", "-Host", "Host: eve@gw.test"), body: goodCall, want: unasked(404)},
				row{name: "address of the listener as another number", http1: post1("/a/mcp", "-Host", "Host: 2130706433"), body: goodCall, want: unasked(404)}),
			missing: "hosts are a short list of exact names; not repeated with 10,000",
		},
		{
			section: "4.2", ids: "CVE-2026-33186, GHSA-hrxh-6v49-42gf", bug: "grpc-go: a :path without a slash passes the access rules of the server",
			rows: pick(both, "CVE-2026-33186", "no slash", "asterisk", "E2 §5: empty", "path twice", "no path"),
			run: []attack{
				{name: "at the decision service", outcome: "no decision", run: func(t *testing.T, c *catalogue) {
					c.rawGRPC(t, "authz.sock", "envoy.service.auth.v3.Authorization/Check", "//envoy.service.auth.v3.Authorization/Check", "/envoy.service.auth.v3.Authorization/Check/", "*", "")
				}},
				{name: "at the xDS server", outcome: "no configuration", run: func(t *testing.T, c *catalogue) {
					const service = "envoy.service.discovery.v3.AggregatedDiscoveryService"
					c.rawGRPC(t, "xds.sock", service+"/DeltaAggregatedResources", "/"+service+"/StreamAggregatedResources", "//"+service+"/DeltaAggregatedResources", "*", "")
				}},
				{name: "grpc-go is new enough", outcome: "version ≥ 1.82.1", run: func(t *testing.T, _ *catalogue) {
					if !atLeast(t, grpc.Version, "1.82.1") {
						t.Errorf("grpc-go is %s", grpc.Version)
					}
				}},
			},
		},
		{
			section: "4.2", ids: "CVE-2021-32777, CVE-2026-26308, CVE-2026-31838", bug: "Envoy: of a repeated header the judge sees the last, or all joined",
			rows: append(pick(header, "twice", "comma in Authorization"),
				passes("Mcp-Name joined", refused(400, "mirror-mismatch"), "Mcp-Name: get_forecast,set_alert"),
				passes("version joined", refused(400, "version-unsupported"), "MCP-Protocol-Version: 2025-06-18,2025-11-25"),
				passes("Authorization twice, the same", refused(401, "token-duplicate"), "Authorization: Bearer {token}"),
				// Envoy joins the two, without a comma, into what the token alone is.
				passes("Authorization twice, the first empty", good(), "-Authorization", "Authorization:", "Authorization: Bearer {token}")),
			tests: []string{"TestOrigins"},
		},
		{
			section: "4.2", ids: "CVE-2023-27487, CVE-2024-45806", bug: "Envoy: x-envoy-original-path and other x-envoy-* of a client are believed",
			rows: append(pick(header, "F16: x-envoy"), passes("deadline of the client", with(good(), "x-envoy-upstream-rq-timeout-ms", "(absent)"), "X-Envoy-Upstream-Rq-Timeout-Ms: 1", "X-Envoy-Max-Retries: 9", "X-Envoy-Hedge-On-Per-Try-Timeout: true")),
		},
		{
			section: "4.2", ids: "CVE-2025-64484, CVE-2026-54763", bug: "X_Forwarded_User: the upstream takes an underscore for a dash",
			rows: pick(wire, "underscore"),
		},
		{
			section: "4.2", ids: "CVE-2025-48865, CVE-2024-45410, CVE-2026-29054, GHSA-w9mr-28mw-j8hg", bug: "Connection: x-identity deletes the header that the gateway sets",
			rows: append(pick(wire, "Connection names", "E2 §5: connection"),
				passes("Connection names all three", with(with(good(), "x-mcpgate-client", "demo"), "x-mcpgate-scopes", "use"), "Connection: close, X-Mcpgate-Subject, X-Mcpgate-Client, X-Mcpgate-Scopes"),
				passes("Connection names the session", refused(404, "session-unknown"), "Connection: close", "Mcp-Session-Id: 1"),
				row{name: "Connection names the upstream's credential", http1: post1("/apikey/mcp", "Connection: close, x-api-key", "X-Api-Key: mine"), body: goodCall, want: with(allowed("apikey", "/up/apikey"), "x-api-key", upstreamSecret)}),
		},
		{
			section: "4.2", ids: "CVE-2026-30851, CVE-2026-52845", bug: "Caddy: a client's identity header stays when the decision has none",
			rows: pick(header, "identity header"),
			run: []attack{{name: "a token without a client", outcome: "harmless", run: func(t *testing.T, c *catalogue) {
				token := c.forger.token(t, nil, demo.Claims{"sub": "nobody", "client_id": deleted, "scope": "use"})
				c.try(t, row{name: "no client", http1: post1("/a/mcp", "X-Mcpgate-Client: evil", "X-Mcpgate-Subject: eve"), body: goodCall, token: token, want: with(with(good(), "x-mcpgate-client", "(absent)"), "x-mcpgate-subject", "nobody")})
			}}},
			tests: []string{"TestAllowRemovesIdentityHeadersThatItDoesNotSet"},
		},
		{
			section: "4.2", ids: "CVE-2019-9900", bug: "Envoy: NUL in a header value cuts it off for the matcher",
			rows: append(pick(wire, "NUL in a value", "bare CR", "bare LF", "line break in a value", "bad character", "blank before the colon", "empty name"),
				pick(both, "escaped NUL", "control character", "line break")...),
			run: []attack{{name: "line break in a claim", outcome: "401 token-subject", run: func(t *testing.T, c *catalogue) {
				for _, sub := range []string{"eve\r\nx-mcpgate-scopes: admin", "eve\x00", "eve\u0085", "eve\x7f"} {
					c.try(t, row{name: "claim", http1: post1("/a/mcp"), body: goodCall, token: c.token(sub, "use"), want: refused(401, "token-subject")})
				}
			}}},
		},
		{
			section: "4.2", ids: "CVE-2025-64763, CVE-2026-73548, CVE-2026-32136, CVE-2022-41721, CVE-2024-39321", bug: "what follows CONNECT or Upgrade is not judged",
			rows:    append(pick(wire, "upgrade", "Upgrade"), pick(both, "CONNECT with a path", "E2 §5: CONNECT", "extended CONNECT")...),
			tests:   []string{"TestValidateRefusesAListener"},
			missing: "TLS early data (0-RTT) has no request of its own: Envoy's listener does not offer it",
		},
		{
			section: "4.2", ids: "CVE-2026-73547, CVE-2026-50572", bug: "Envoy: ext_authz crashes on CONNECT, or uses freed memory",
			rows: pick(both, "CONNECT with a path"),
			run: []attack{{name: "Envoy is new enough", outcome: "version ≥ 1.38.4", run: func(t *testing.T, _ *catalogue) {
				if !atLeast(t, envoy.MinVersion, "1.38.4") {
					t.Errorf("Envoy may be %s", envoy.MinVersion)
				}
			}}},
			tests: []string{"TestInspectReadsTheVersionAndRefusesAnOldEnvoy", "TestEnvoyDies", "TestSupervisorRestartsAKilledEnvoyAndStopsItWithTheContext"},
		},
		{
			section: "4.2", ids: "smuggling", bug: "two readers of one connection: lengths, chunks, trailers, method override, Expect",
			missing: "trailers to an upstream of HTTP/2 are held by the golden files alone: the recorder reads HTTP/1.1, to which Envoy sends none",
			tests:   []string{"TestGoldens"},
			rows: append(pick(wire, "Content-Length", "content-length", "Transfer-Encoding", "chunk size", "HTTP/1.0", "HTTP/0.9", "HTTP/1.2", "railers", "Expect", "pipelined", "F9", "F18", "verb twice", "space in the verb", "pseudo-header", "te chunked"),
				pick(header, "x-http-method", "x-method-override")...),
		},
		{
			section: "4.2", ids: "rebinding", bug: "a page of another origin, or under another name, speaks with the gateway",
			rows:  append(pick(header, "Origin"), pick(wire, "DNS rebinding", "foreign authority")...),
			tests: []string{"TestLiveCORS", "TestLoopbackOriginsAreAllowedOnALoopbackListenerOnly"},
		},
	}
}

// rawGRPC asks a gRPC port of the program with paths that are no method: none
// may get an answer that is a message.
func (c *catalogue) rawGRPC(t *testing.T, socket string, paths ...string) {
	t.Helper()
	for _, path := range paths {
		f := frames{fields: []field{{":method", "POST"}, {":scheme", "http"}, {":authority", "localhost"}, {":path", path}, {"content-type", "application/grpc"}, {"te", "trailers"}}, data: "\x00\x00\x00\x00\x00"}
		o := exchange2("unix:"+filepath.Join(c.dir, "data", socket), f)
		if status := o.header.Get("Grpc-Status"); status == "0" || o.body != "" || o.end == "" && status == "" && o.status == 200 {
			t.Errorf("path %q got %+v", path, o)
		}
	}
}

// atLeast compares versions of the form 1.2.3.
func atLeast(t *testing.T, have, want string) bool {
	t.Helper()
	number := func(v string) (n int) {
		for part := range strings.SplitSeq(v, ".") {
			p, err := strconv.Atoi(part)
			if err != nil {
				t.Fatalf("version %q", v)
			}
			n = n*1000 + p
		}
		return n
	}
	return number(have) >= number(want)
}
