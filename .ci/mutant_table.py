"""The bugs that .ci/mutants puts back.

Each has a name, what it is, the test that must fail ("row ID" is a row of
TestCatalogue by its first advisory, "PACKAGE TEST" another test), and edits:
file, text that is there once, and what stands there with the bug. Where two
places hold a promise the mutant takes both away.
"""

MUTANTS = []


def mutant(name, bug, fails, *edits):
    assert edits
    MUTANTS.append({"name": name, "bug": bug, "fails": fails, "edits": edits})


# What would keep a configuration that fails open from being sent.
NO_LISTENER_CHECK = ("xds/validate.go", "errs = append(errs, validateListener(m)...)", "_ = validateListener")
NO_SCOPE_CHECK = ("xds/validate.go", "errs = append(errs, validateScope(m)...)", "_ = validateScope")

NO_BUFFER = (
    ("xds/filters.go", "\t\t{filterBuffer, &bufferv3.Buffer{MaxRequestBytes: wrapperspb.UInt32(limit)}},\n", ""),
    ("xds/filters.go", '\tbufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/buffer/v3"\n', ""),
)

# 4.1 Message body.

BODY = "extauthz/rpcbody/"
FOLD = "row CVE-2026-27896"
DUPLICATE = "row envoy#45202"
NUL = "row GHSA-q382-vc8q-7jhj"

mutant("body-duplicate", "a name may come twice", DUPLICATE, (BODY + "names.go", "if other.mark == mark && (", "if false && other.mark == mark && ("))
mutant("body-duplicate-large", "a name may come twice in a large object", DUPLICATE, (BODY + "names.go", "\t\tif !t.insert(body, name) {", "\t\tif !t.insert(body, name) && false {"))
mutant("body-duplicate-escaped", "a name in escapes is not the name", DUPLICATE, (BODY + "scan.go", "name = s.names.unescape(name)", "_ = s.names.unescape(name)"))
mutant("body-fold", "names that only fold to a known one pass", FOLD, (BODY + "envelope.go", "if foldsTo(name, k) {", "if false && foldsTo(name, k) {"))
mutant("body-fold-kelvin", "the Kelvin sign is no k", FOLD, (BODY + "fold.go", r"case r == '\u212A':", r"case r == '\u212A' && false:"))
mutant("body-fold-long-s", "the long s is no s", FOLD, (BODY + "fold.go", r"case r == '\u017F':", r"case r == '\u017F' && false:"))
mutant("body-fold-dotless-i", "the dotless i is no i", FOLD, (BODY + "fold.go", r"case r == '\u0130' || r == '\u0131':", r"case r == '\u0130':"))
mutant("body-fold-snake", "snake case is another name", FOLD, (BODY + "fold.go", "case r == '_' || r == '-':", "case r == '-':"))
mutant("body-name-nul", "a name may have NUL in it", NUL, (BODY + "envelope.go", "if hasControl(name) {", "if false {"))
mutant("body-value-nul", "a tool's name may have NUL in it", NUL, (BODY + "envelope.go", "if hasControl(v) {", "if false {"))
mutant("body-c1", "C1 controls are no controls", NUL, (BODY + "string.go", " || c == 0xC2 && i+1 < len(t) && t[i+1] < 0xA0", ""))
mutant("body-utf8", "a body need not be UTF-8", "row CVE-2023-27488", (BODY + "string.go", "if r == utf8.RuneError && n <= 1 {", "if r == utf8.RuneError && n <= 1 && false {"))
mutant("body-surrogate", "half a surrogate pair passes", "row CVE-2023-27488", (BODY + "string.go", "\t\treturn s.fail(RuleSurrogate, i)\n\t}\n\tlow :=", "\t\treturn i + 6\n\t}\n\tlow :="))
mutant("body-trailing", "a second message behind the first passes", "row era", (BODY + "read.go", "if i = s.space(i); i < len(b) {", "if i = s.space(i); false {"))
mutant("body-call-without-id", "a call without an id runs unseen", "row era", (BODY + "read.go", "s.fail(RuleCallWithoutID, end)", "_ = end"))
mutant("body-depth", "no bound on depth that other readers have", "row encoding", (BODY + "scan.go", "func (s *scanner) object(i, depth int, visit visitor) int {\n", "func (s *scanner) object(i, depth int, visit visitor) int {\n\tdepth = min(depth, 2)\n"))
mutant("partial-no-buffer", "Envoy does not hold the body back, the guard and the setting are gone: a part is judged", "row envoy#6487",
       NO_LISTENER_CHECK,
       *NO_BUFFER,
       ("xds/filters.go", "AllowPartialMessage: false,", "AllowPartialMessage: true,"),
       ("extauthz/check/judge.go", "case int64(len(e.body)) != e.size:", "case false:"),
       ("extauthz/check/judge.go", "case partial.count > 1, partial.count == 1 && partial.value != \"false\":", "case false:"))
mutant("no-buffer", "Envoy does not hold the body back", "row envoy#6487",
       NO_LISTENER_CHECK, *NO_BUFFER)
mutant("partial-size", "the guard does not compare sizes", "extauthz/check TestRefusals", ("extauthz/check/judge.go", "case int64(len(e.body)) != e.size:", "case false:"))
mutant("partial-header", "the guard does not read Envoy's word", "extauthz/check TestRefusals", ("extauthz/check/judge.go", "case partial.count > 1, partial.count == 1 && partial.value != \"false\":", "case false:"))
mutant("failure-mode-allow", "ext_authz fails open", "xds TestGoldensAreValid", ("xds/filters.go", "StatusOnError:                  &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},\n\t\tFailureModeAllow:               false,", "FailureModeAllow: true,"))
mutant("validate-failure-mode", "a listener that fails open is sent", "xds TestValidateRefusesAListener", ("xds/validatelistener.go", "if authz.GetFailureModeAllow() || ", "if "))
mutant("content-type", "any Content-Type passes", "row encoding", ("extauthz/check/judge.go", "h.count != 1 || !isJSON(h.value)", "h.count > 99"))
mutant("charset", "any charset passes", "row encoding", ("extauthz/check/header.go", 'return strings.EqualFold(name, "charset") &&', 'return strings.EqualFold(name, "charset") ||'))
mutant("content-encoding", "a compressed body passes", "row encoding", ("extauthz/check/judge.go", 'h.count == 1 && !strings.EqualFold(h.value, "identity")', "h.count == 99"))
mutant("tool-fold", "tools match without regard to case", "row CVE-2026-30856",
       ("extauthz/match.go", '\t"slices"\n', '\t"slices"\n\t"strings"\n'),
       ("extauthz/match.go", "if _, ok := slices.BinarySearch(m.exact, name); ok {", "if slices.ContainsFunc(m.exact, func(e string) bool { return strings.EqualFold(e, name) }) {"))
mutant("tool-trim", "blanks around a tool's name do not count", "row CVE-2026-30856",
       ("extauthz/match.go", '\t"slices"\n', '\t"slices"\n\t"strings"\n'),
       ("extauthz/match.go", "if _, ok := slices.BinarySearch(m.exact, name); ok {", "if _, ok := slices.BinarySearch(m.exact, strings.TrimSpace(name)); ok {"))
mutant("target-missing", "a call may name nothing", "row CVE-2026-30856", ("extauthz/decide.go", 'if target.Value == "" {', 'if target.Value == "?" {'))
mutant("mirror-name", "Mcp-Name need not agree", "row era", ("extauthz/mirror.go", "case h.Present && !repeatsName(h, meth, m):", "case h.Present && false:"))
mutant("mirror-method", "Mcp-Method need not agree", "row era", ("extauthz/mirror.go", 'case h.Present && (m.Method == "" || !repeats(h, m.Method)):', "case h.Present && false:"))
mutant("mirror-version", "the version of the header wins", "row era", ("extauthz/mirror.go", "case header.Value != m.MetaVersion.Value:", "case false:"))
mutant("tasks-list", "everybody's tasks are listed", "row era", ("extauthz/methods.go", '{Name: "tasks/list", Versions: V20251125, Grant: GrantNone}', '{Name: "tasks/list", Versions: allVersions, Grant: GrantServer}'))
mutant("completion-ref", "a completion is not judged by what it names", "row era", ("extauthz/decide.go", "return s.permitTarget(c, meth, onPrompt, m.Ref.Name)", "return s.permit(c, meth.Reply, operation{kind: onServer})"))
mutant("verb-body", "a GET may have a body", "row era", ("extauthz/check/judge.go", "if e.size != 0 {", "if false {"))

# 4.2 Path, header, protocol.

LISTENER = "xds/listener.go"
ESCAPES = "row CVE-2021-29492"
STRIPPED = 'strippedPrefixes = [...]string{"x-mcpgate", "x-original-", "x-rewrite-", "x-http-method", "x-method-", "x-envoy-"}'


def without(prefix):
    return LISTENER, STRIPPED, STRIPPED.replace(f'"{prefix}"', '"x-none"')


mutant("path-normalize", "paths are not normalised", ESCAPES, NO_LISTENER_CHECK, (LISTENER, "NormalizePath:                wrapperspb.Bool(true)", "NormalizePath: wrapperspb.Bool(false)"))
mutant("path-merge", "slashes are not merged", "row CVE-2026-26205", NO_LISTENER_CHECK, (LISTENER, "MergeSlashes:                 true", "MergeSlashes: false"))
mutant("path-escapes-kept", "an escaped slash is kept", ESCAPES, NO_LISTENER_CHECK, (LISTENER, "hcmv3.HttpConnectionManager_REJECT_REQUEST", "hcmv3.HttpConnectionManager_KEEP_UNCHANGED"))
mutant("path-escapes-decoded", "an escaped slash is decoded", ESCAPES, NO_LISTENER_CHECK, (LISTENER, "hcmv3.HttpConnectionManager_REJECT_REQUEST", "hcmv3.HttpConnectionManager_UNESCAPE_AND_FORWARD"))
mutant("path-prefix", "routes match the beginning of the path", "row CVE-2026-73553", NO_SCOPE_CHECK,
       ("xds/scope.go", "PathSpecifier: &routev3.RouteMatch_Path{Path: Path(v.Name)},", "PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: Path(v.Name)},"),
       ("xds/scope.go", "PathSpecifier: &routev3.RouteMatch_Path{Path: Path(name)}", "PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: Path(name)}"))
mutant("path-case", "routes match without regard to case", "row CVE-2026-27588", NO_SCOPE_CHECK,
       ("xds/scope.go", "Match:    &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Path{Path: Path(name)}},", "Match: &routev3.RouteMatch{CaseSensitive: wrapperspb.Bool(false), PathSpecifier: &routev3.RouteMatch_Path{Path: Path(name)}},"))
mutant("server-open", "ext_authz is off for servers", "row GHSA-vw82-7fv8-r6gp", NO_SCOPE_CHECK,
       ("xds/scope.go", 'extprocv3 "github.com', 'extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"\n\textprocv3 "github.com'),
       ("xds/scope.go", "\thosts, err := cfg.hosts()", "\topen, err := pack(&extauthzv3.ExtAuthzPerRoute{Override: &extauthzv3.ExtAuthzPerRoute_Disabled{Disabled: true}})\n\tif err != nil {\n\t\treturn nil, err\n\t}\n\thosts, err := cfg.hosts()"),
       ("xds/scope.go", "map[string]*anypb.Any{filterCORS: policy}", "map[string]*anypb.Any{filterCORS: policy, filterExtAuthz: open}"))
mutant("dead-end", "what nothing was decided about goes to the upstream", "xds TestLiveOnlyADecisionForThisGenerationReachesTheUpstream", NO_SCOPE_CHECK,
       ("xds/scope.go", "RouteAction_Cluster{Cluster: ClusterNoDecision}", "RouteAction_Cluster{Cluster: ClusterName(name, newest.Metadata.Generation)}"))
mutant("route-generation", "a decision for any generation opens the route", "xds TestLiveOnlyADecisionForThisGenerationReachesTheUpstream", NO_SCOPE_CHECK,
       ("xds/scope.go", 'StringMatcher_Exact{Exact: kind + ":" + RouteKey(v.Name, g)}', 'StringMatcher_Prefix{Prefix: kind + ":" + v.Name + "@"}'))
mutant("route-server", "a decision for any server opens the route", "xds TestLiveOnlyADecisionForThisGenerationReachesTheUpstream", NO_SCOPE_CHECK,
       ("xds/scope.go", 'StringMatcher_Exact{Exact: kind + ":" + RouteKey(v.Name, g)}', 'StringMatcher_Prefix{Prefix: kind + ":"}'))
mutant("validate-dead-end", "a scope without a dead end is sent", "xds TestValidateRefusesAScope", ("xds/validatescope.go", "case last.GetName() != RouteNoDecision:", "case false:"))
mutant("path-rewrite", "the upstream gets the public path", "row CVE-2026-65600", NO_SCOPE_CHECK, ("xds/scope.go", "PrefixRewrite:        t.path,", 'PrefixRewrite: "",'))
mutant("envoy-floor", "an Envoy with known faults is taken", "row CVE-2026-73547", ("envoy/version.go", 'MinVersion = "1.39.1"', 'MinVersion = "1.37.0"'))
mutant("hosts", "any Host is answered", "row CVE-2026-27588", NO_SCOPE_CHECK, ("xds/scope.go", "Domains: hosts,", 'Domains: append(hosts[:0:0], "*"),'))
mutant("host-port", "a host with its port is another host", "row CVE-2026-27588", NO_LISTENER_CHECK, (LISTENER, "StripAnyHostPort{StripAnyHostPort: true}", "StripAnyHostPort{StripAnyHostPort: false}"))
mutant("header-duplicate", "of mirrored headers the first counts", "row CVE-2021-32777", ("extauthz/check/judge.go", "if e.headers[i].count > 1 {", "if e.headers[i].count > 99 {"))
mutant("token-duplicate", "two tokens pass to where one is read", "row CVE-2021-32777", ("extauthz/check/judge.go", "case h.count > 1 || strings.IndexByte(h.value, ',') >= 0:", "case false:"))
mutant("token-comma", "two tokens in one header, as Envoy joins them, pass", "row CVE-2021-32777", ("extauthz/check/judge.go", "case h.count > 1 || strings.IndexByte(h.value, ',') >= 0:", "case h.count > 1:"))
mutant("raw-headers", "Envoy joins what was repeated", "row CVE-2021-32777", NO_LISTENER_CHECK, ("xds/filters.go", "EncodeRawHeaders:  true,", "EncodeRawHeaders:  false,"))
mutant("strip-envoy", "x-envoy-* of a client are believed", "row CVE-2023-27487", without("x-envoy-"))
mutant("strip-original", "x-original-* of a client reach the upstream", "row CVE-2025-54576", without("x-original-"))
mutant("strip-rewrite", "x-rewrite-* of a client reach the upstream", "row CVE-2025-54576", without("x-rewrite-"))
mutant("strip-identity", "x-mcpgate-* of a client reach the upstream", "row CVE-2026-30851", without("x-mcpgate"))
mutant("strip-method", "x-http-method-override reaches the upstream", "row smuggling", without("x-http-method"))
mutant("strip-host", "x-forwarded-host reaches the upstream", "row GHSA-g53w-w6mj-hrpp", (LISTENER, '"x-forwarded-host", ', ""))
mutant("client-certificate-header", "a client may say what certificate it has", "row GHSA-g53w-w6mj-hrpp", NO_LISTENER_CHECK, (LISTENER, "hcmv3.HttpConnectionManager_SANITIZE", "hcmv3.HttpConnectionManager_ALWAYS_FORWARD_ONLY"))
mutant("identity-kept", "the client's own name stays when the token has none", "row CVE-2026-30851", without("x-mcpgate"), ("extauthz/check/allow.go", "return set, append(remove, name)", "return set, remove"))
mutant("identity-appended", "identity is added to what the client says", "extauthz/check TestAllowOfToolsCall", ("extauthz/check/encode.go", "overwriteOrAdd = 2", "overwriteOrAdd = 0"))
mutant("underscores", "X_Mcpgate_Subject passes", "row CVE-2025-64484", (LISTENER, "corev3.HttpProtocolOptions_REJECT_REQUEST", "corev3.HttpProtocolOptions_ALLOW"))
mutant("upgrades", "websockets pass", "row CVE-2025-64763", NO_LISTENER_CHECK, (LISTENER, "\t\tAccessLog:        logs,\n", '\t\tUpgradeConfigs: []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},\n\t\tAccessLog:        logs,\n'))
mutant("trailers", "trailers of a client reach an upstream of HTTP/2", "xds TestGoldens", ("xds/filters.go", 'RegexMatcher{Regex: ".*"}', 'RegexMatcher{Regex: "none"}'))
mutant("origin", "any Origin passes", "row rebinding", ("extauthz/check/judge.go", "o.count > 1 || o.count == 1 && !s.origins.allow(o.value)", "o.count > 99"))
mutant("origin-prefix", "an Origin that begins like an allowed one passes", "row rebinding", ("extauthz/check/header.go", "\tif _, ok := o.exact[origin]; ok {", "\tfor e := range o.exact {\n\t\tif strings.HasPrefix(origin, e) {\n\t\t\treturn true\n\t\t}\n\t}\n\tif _, ok := o.exact[origin]; ok {"))
mutant("query-token", "a token in the query is not seen", "extauthz/check TestRefusals", ("extauthz/check/judge.go", "case hasQueryToken(e.path):", "case false:"))
mutant("credential-kept", "the client's token reaches the upstream", "row GHSA-4gph-2hhr-5mwg", ("extauthz/check/allow.go", "remove = append(remove, nameAuthorization, nameCookie)", "_, _ = nameAuthorization, nameCookie"))
mutant("credential-generation", "the upstream gets the credential of another generation", "extauthz/check TestCredentialOfTheGenerationOfTheRoute", ("extauthz/policy.go", "if s.upstreams[i].Generation == generation {", "if true {"))
mutant("session-unbound", "a session id is passed on as it is", "row CVE-2025-48865", ("extauthz/check/judge.go", "if bound := e.headers[hMCPSessionID]; bound.count > 0 {", "if bound := e.headers[hMCPSessionID]; bound.count > 99 {"))
mutant("session-server", "a session is good for every server", "extauthz/session TestEachFieldOfTheOwnerCounts", ("extauthz/session/keyring.go", "o.Client, o.Server, id}", "o.Client, id}"))
mutant("session-subject", "a session is good for every subject", "extauthz/session TestEachFieldOfTheOwnerCounts", ("extauthz/session/keyring.go", "o.Issuer, o.Subject, o.Client, o.Server, id}", "o.Issuer, o.Client, o.Server, id}"))
mutant("session-mac", "the MAC is not compared", "extauthz/session TestAnyFlippedBitIsRefused", ("extauthz/session/keyring.go", "!hmac.Equal([]byte(mac), sum(secret, o, raw))", "!hmac.Equal([]byte(mac), []byte(mac)) || len(sum(secret, o, raw)) == 0"))

# 4.3 Tokens, caches, keys.

TOKEN = "extauthz/token/"
CONFUSION = "row CVE-2026-33322"
AUDIENCE = "row CVE-2026-55669"
KIND = "row CVE-2024-51744"
ODD = "row CVE-2025-30204"
CANONICAL = "row CVE-2026-40574"
VERIFY = "func (k *key) verify(t *jws) error {\n"


def lists(alg):
    refused = "!slices.Contains(i.algorithms, t.algorithm) || !supported(t.algorithm)"
    return TOKEN + "issuer.go", refused, f't.algorithm != "{alg}" && ({refused})'


def fits(alg):
    return TOKEN + "key.go", "func (k *key) fits(alg string) bool {\n", f'func (k *key) fits(alg string) bool {{\n\tif alg == "{alg}" {{\n\t\treturn true\n\t}}\n'


mutant("alg-hmac", "the token chooses HMAC, the public key is the secret", CONFUSION, lists("HS256"), fits("HS256"),
       (TOKEN + "key.go", VERIFY, VERIFY + '\tif p, ok := k.public.(*ecdsa.PublicKey); ok && t.algorithm == "HS256" {\n\t\tpoint, err := p.Bytes()\n\t\tif err != nil {\n\t\t\treturn err\n\t\t}\n\t\tv, err := jwxjws.NewVerifier(jwa.HS256)\n\t\tif err != nil {\n\t\t\treturn err\n\t\t}\n\t\treturn v.Verify(t.signed, t.signature, point)\n\t}\n'))
mutant("alg-none", "the token chooses no signature", CONFUSION, lists("none"), fits("none"),
       (TOKEN + "key.go", VERIFY, VERIFY + '\tif t.algorithm == "none" {\n\t\treturn nil\n\t}\n'))
mutant("alg-of-key", "the algorithm of the key does not count", CONFUSION,
       (TOKEN + "key.go", "func (k *key) fits(alg string) bool {\n", 'func (k *key) fits(alg string) bool {\n\treturn true\n}\n\nfunc (k *key) fitsNot(alg string) bool {\n'))
mutant("signature", "the signature is not looked at", "row CVE-2026-11717", (TOKEN + "key.go", "if err := v.Verify(t.signed, t.signature, k.public); err != nil {", "if err := v.Verify(t.signed, t.signature, k.public); err != nil && false {"))
mutant("aud", "any audience passes", AUDIENCE, (TOKEN + "claims.go", "if slices.Contains(ofServer, a) || slices.Contains(ofIssuer, a) {", 'if slices.Contains(ofServer, a) || slices.Contains(ofIssuer, a) || a != "?" {'))
mutant("aud-fold", "audiences match without regard to case", AUDIENCE, (TOKEN + "claims.go", "if slices.Contains(ofServer, a) || slices.Contains(ofIssuer, a) {", "if slices.Contains(ofServer, a) || slices.ContainsFunc(ofIssuer, func(s string) bool { return strings.EqualFold(s, a) }) {"))
mutant("aud-prefix", "an audience is met by its beginning", AUDIENCE, (TOKEN + "claims.go", "if slices.Contains(ofServer, a) || slices.Contains(ofIssuer, a) {", "if slices.Contains(ofServer, a) || slices.ContainsFunc(ofIssuer, func(s string) bool { return strings.HasPrefix(a, s) }) {"))
mutant("aud-of-server", "a token for one server is good for another", "extauthz/token TestAWarmTokenIsJudgedForEachServer", (TOKEN + "verifier.go", "if err := accepts(e.aud, want.Audiences, e.issuer.audiences); err != nil {", "if err := accepts(e.aud, e.aud, e.issuer.audiences); err != nil {"))
mutant("aud-unset", "no audience configured means any", "extauthz/token TestNoAudienceConfiguredIsRefused", (TOKEN + "claims.go", "if len(ofServer) == 0 && len(ofIssuer) == 0 {\n", "if len(ofServer) == 0 && len(ofIssuer) == 0 {\n\t\treturn nil\n\t}\n\tif false {\n"))
mutant("exp", "an expired token passes", AUDIENCE, (TOKEN + "claims.go", "if !now.Before(v.expires.Add(leeway)) {", "if false {"))
mutant("exp-missing", "a token need not expire", AUDIENCE, (TOKEN + "claims.go", 'return v, refusef(extauthz.RuleTokenClaim, "exp is missing")', "exp = time.Unix(lastTime, 0)"))
mutant("nbf", "a token of the future passes", AUDIENCE, (TOKEN + "claims.go", "if now.Before(v.notBefore.Add(-leeway)) {", "if false {"))
mutant("issuers-of-server", "a server's list of issuers does not count", AUDIENCE, (TOKEN + "verifier.go", "return w.Issuers == nil || slices.Contains(w.Issuers, i.name)", 'return w.Issuers == nil || i.name != "?"'), ("extauthz/policy.go", "return s.Issuers == nil || slices.Contains(s.Issuers, issuer)", 'return s.Issuers == nil || issuer != "?"'))
mutant("typ", "the type of a token does not count", KIND,
       (TOKEN + "issuer.go", "case foreignType(typ):", "case foreignType(typ) && false:"),
       (TOKEN + "issuer.go", "case !slices.Contains(i.types, typ) && !t.typed:", "case false:"),
       (TOKEN + "issuer.go", 'case !slices.Contains(i.types, typ) || t.typed && typ == "":', "case false:"))
mutant("typ-missing", "a token need not say its type", KIND,
       (TOKEN + "issuer.go", "case !slices.Contains(i.types, typ) && !t.typed:", "case !slices.Contains(i.types, typ) && !t.typed && false:"),
       (TOKEN + "issuer.go", 'case !slices.Contains(i.types, typ) || t.typed && typ == "":', "case !slices.Contains(i.types, typ) && t.typed:"))
mutant("token-use", "an ID token of Cognito passes", KIND, (TOKEN + "claims.go", 'present && use != "access"', 'present && use == "?"'))
mutant("refresh-token", "a refresh token of Keycloak passes", KIND, (TOKEN + "claims.go", 'case "id", "refresh", "offline", "logout":', 'case "id", "logout":'))
mutant("at-hash", "an ID token passes for a JWT", KIND, (TOKEN + "claims.go", '[]string{"at_hash", "c_hash", "s_hash"}', '[]string{"c_hash", "s_hash"}'))
mutant("crit", "critical and unencoded tokens pass", ODD, (TOKEN + "jws.go", '[]string{"crit", "b64", "zip", "enc"}', '[]string{"enc"}'))
mutant("token-size", "a token of any size is decoded", ODD, (TOKEN + "jws.go", "MaxBytes = 16 << 10", "MaxBytes = 16 << 20"))
mutant("base64-strict", "one token has several texts", ODD, (TOKEN + "jws.go", "base64.RawURLEncoding.Strict()", "base64.RawURLEncoding"))
mutant("cty", "a token inside a token passes", ODD, (TOKEN + "jws.go", 'if strings.EqualFold(normalType(cty), "jwt") {', 'if strings.EqualFold(normalType(cty), "?") {'))
mutant("kid", "a key is taken whose kid is another", "row CVE-2026-41413", (TOKEN + "keyset.go", "if k.id != t.keyID {", 'if k.id == "?" {'))
mutant("kid-control", "a kid may have NUL in it", "row CVE-2026-41413", (TOKEN + "jws.go", "case hasControl(t.keyID):", "case false:"))
mutant("cache-key", "the cache does not look at the whole token", "row CVE-2026-48096", (TOKEN + "verifier.go", "append(buf[:0], rawToken...)", "append(buf[:0], rawToken[:max(0, len(rawToken)-86)]...)"))
mutant("shared-caller", "the caller of one token answers for another", "row CVE-2026-48529", (TOKEN + "cache.go", "\tif e, ok := s.young[d]; ok {\n\t\treturn e.verified\n", "\tfor _, e := range s.young {\n\t\treturn e.verified\n\t}\n\tif e, ok := s.young[d]; ok {\n\t\treturn e.verified\n"))
mutant("warm-expiry", "an expired token passes while it is cached", "extauthz/token TestAWarmTokenExpires", (TOKEN + "verifier.go", "e.current(now) && e.check(now) == nil", "e.current(now)"))
mutant("warm-issuer", "a token of an issuer that is gone passes while it is cached", "row CVE-2026-9097", (TOKEN + "verifier.go", "e.current(now) && e.check(now) == nil", "e.check(now) == nil"))
mutant("pattern-regex", "tools in rules are regular expressions", "row CVE-2026-39350",
       ("extauthz/match.go", '\t"slices"\n', '\t"regexp"\n\t"slices"\n'),
       ("extauthz/match.go", "if _, ok := slices.BinarySearch(m.exact, name); ok {", 'if slices.ContainsFunc(m.exact, func(e string) bool { ok, err := regexp.MatchString("^(?:"+e+")$", name); return ok && err == nil }) {'))
mutant("scope-split", "scopes are split at any white space", CANONICAL, (TOKEN + "claims.go", 'strings.SplitSeq(v, " ")', "strings.FieldsSeq(v)"))
mutant("scope-list", "a list of scopes may have two in one entry", CANONICAL, (TOKEN + "claims.go", 'if s == "" || strings.Contains(s, " ") {', 'if s == "" {'), (TOKEN + "claims.go", "\t\tif list, err = stringList(\"scopes\", v); err != nil {\n\t\t\treturn nil, err\n\t\t}\n", "\t\tif list, err = stringList(\"scopes\", v); err != nil {\n\t\t\treturn nil, err\n\t\t}\n\t\tlist = strings.Fields(strings.Join(list, \" \"))\n"))
mutant("subject-fold", "subjects are put into small letters", CANONICAL, (TOKEN + "claims.go", 'refusef(rule, "%s has a control character", name)\n\t}\n\treturn s, nil', 'refusef(rule, "%s has a control character", name)\n\t}\n\treturn strings.ToLower(s), nil'))
mutant("claim-control", "a claim may have a line break in it", "row CVE-2019-9900", (TOKEN + "claims.go", "case hasControl(s):", "case false:"))

# 4.4 Control plane, registration, store.

CERTIFICATES = "row CVE-2025-64323"
UNREADABLE = "row CVE-2026-27586"
REBINDING = "row CVE-2025-64443"
CONFIG = "cmd/mcpgate/config/validate.go"
LISTEN = "cmd/mcpgate/command/listen.go"

mutant("xds-plain", "xDS is served on a network address without TLS", CERTIFICATES, (CONFIG, "case !e.Insecure:", "case false:"))
mutant("xds-any-client", "xDS is served to clients without a certificate", CERTIFICATES, (LISTEN, "c.ClientAuth = tls.RequireAndVerifyClientCert", "c.ClientAuth = tls.VerifyClientCertIfGiven"))
mutant("xds-any-authority", "xDS is served to clients of any authority", CERTIFICATES, (LISTEN, "c.ClientAuth = tls.RequireAndVerifyClientCert", "c.ClientAuth = tls.RequireAnyClientCert"))
mutant("socket-mode", "the sockets are everybody's", CERTIFICATES, (LISTEN, "os.Chmod(temp, 0o600)", "os.Chmod(temp, 0o666)"))
mutant("client-ca-empty", "a client CA of no certificate is taken", UNREADABLE, (LISTEN, "if !c.ClientCAs.AppendCertsFromPEM(pem) {", "if !c.ClientCAs.AppendCertsFromPEM(pem) && false {"))
mutant("secret-missing", "a secret that cannot be read means none", UNREADABLE, ("extauthz/check/allow.go", "return s.fail(e, extauthz.RuleSecretUnavailable, err.Error())", 'c = pair{"x-none", "none"}'))
mutant("admin-plain", "the admin API is served on a network address without TLS", "cmd/mcpgate/config TestValidate", (CONFIG, 'if a.TLS.CertFile == "" && !a.Insecure {', "if false {"))
mutant("envoy-admin", "Envoy's admin interface is for the network", REBINDING, (CONFIG, "!isLoopback(c.Envoy.AdminListen)", "false"))
mutant("admin-origin", "a page may use the admin API", "registry/api TestAuthenticate", ("registry/api/server.go", 'case r.Header.Get("Origin") != "":', "case false:"))
mutant("admin-token", "no token means any", "registry/api TestAuthenticate", ("registry/api/server.go", 'case token == "" || !ok || subtle.ConstantTimeCompare(got[:], want[:]) != 1:', 'case token != "" && (!ok || subtle.ConstantTimeCompare(got[:], want[:]) != 1):'))
mutant("server-names", "a server's name may have any sign", "row CVE-2026-29777", ("registry/syntax.go", "if c := s[i]; !isLower(c) && !isDigit(c) && c != '-' {", "if c := s[i]; c <= ' ' {"))
mutant("cluster-name", "clusters of two servers have one name", "xds TestClusterNamesOfNeighbours", ("xds/names.go", 'return name + "@" + strconv.FormatInt(generation, 10)', "return name + strconv.FormatInt(generation, 10)"))
mutant("issuer-http", "keys are fetched without TLS", "row CVE-2026-44430", ("registry/syntax.go", 'return "must be https, unless its host is a loopback address"', 'return ""'))
mutant("ssrf-link-local", "keys are fetched from metadata services", "extauthz/authserver TestAddresses", ("extauthz/authserver/url.go", "case a.IsLoopback(), a.IsUnspecified(), a.IsMulticast(), a.IsLinkLocalUnicast():", "case a.IsLoopback(), a.IsUnspecified(), a.IsMulticast():"))
mutant("ssrf-inner", "an IPv4 address inside an IPv6 one is not seen", "extauthz/authserver TestAddresses", ("extauthz/authserver/url.go", 'a = inner(a.WithZone("").Unmap())', 'a = a.WithZone("").Unmap()'))
mutant("ssrf-redirect", "redirects are followed", "extauthz/authserver TestTransportLimits", ("extauthz/authserver/client.go", "CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },", ""))

# No answer means no access.

mutant("deadline", "an answer after the deadline is sent", "extauthz/check TestContextThatEndedIsNeverAnswered", ("extauthz/check/server.go", "if ctxErr := ctx.Err(); ctxErr != nil {", "if ctxErr := ctx.Err(); ctxErr != nil && false {"))
mutant("empty-answer", "an empty answer, which Envoy takes for an allow, is sent", "extauthz/check TestEmptyAnswerIsNeverSent", ("extauthz/check/answer.go", "return a != nil && len(a.wire) > 0", "return a != nil"))
mutant("not-ready", "checks are answered before the registry is loaded", "extauthz/check TestNotReadyRefusesEverything", ("extauthz/check/judge.go", "if s.ready != nil && !s.ready() {", "if s.ready != nil && !s.ready() && false {"))
mutant("method-unknown", "a method that nobody knows is the server's matter", "row era", ("extauthz/decide.go", "Grant: GrantMethods, Notification: m.Kind == rpcbody.Notification}", "Grant: GrantServer, Notification: m.Kind == rpcbody.Notification}"))
