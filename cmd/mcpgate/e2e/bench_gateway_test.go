package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/mcpgate/mcpgate/envoy"
	"github.com/mcpgate/mcpgate/envoy/envoytest"
	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/api"
	"github.com/mcpgate/mcpgate/xds"
)

// benchGateway is `mcpgate serve` in a process of its own, with an Envoy that
// the benchmark starts.
type benchGateway struct {
	*gateway
	b       *testing.B
	program *benchChild
	admin   *api.Client
	envoy   *envoytest.Envoy
}

// startServe runs the program. Its registry has an Issuer, and a Scope named
// bench that gives every tool of every server.
func startServe(b *testing.B) *benchGateway {
	b.Helper()
	port, dir := envoytest.FreePort(b), envoytest.Dir(b)
	g := &benchGateway{b: b, gateway: &gateway{
		TB: b, dir: dir, config: filepath.Join(dir, "mcpgate.yaml"), logs: &buffer{}, client: &http.Client{Timeout: 30 * time.Second},
		address: fmt.Sprintf("127.0.0.1:%d", port), url: fmt.Sprintf("http://127.0.0.1:%d", port),
	}}
	g.write(g.config, fmt.Sprintf("dataDir: %s\nexternalURL: %s\ngateway:\n  listen: %s\n", dir, g.url, g.address))
	g.startIssuer()
	g.program = startChild(b, "program", "serve", "--config", g.config)
	g.admin = api.NewClient("unix:"+filepath.Join(dir, "admin.sock"), "", nil)
	b.Cleanup(g.admin.Close)
	g.eventually("the program serves", func() bool {
		_, err := g.admin.Status(context.Background())
		return err == nil
	})
	g.put(0,
		&registry.Issuer{Name: "corp", Issuer: g.issuer.URL, Audiences: []string{g.url}},
		&registry.Scope{Name: "bench", Rules: []registry.Rule{{Servers: []string{"*"}, Tools: []registry.Pattern{"*"}}}})
	return g
}

// put applies resources as one transaction and waits for Envoy.
func (g *benchGateway) put(wait time.Duration, resources ...registry.Resource) {
	g.b.Helper()
	documents := make([][]byte, len(resources))
	for i, r := range resources {
		d, err := registry.Encode(r)
		if err != nil {
			g.b.Fatal(err)
		}
		documents[i] = d
	}
	answer, err := g.admin.Apply(context.Background(), bytes.Join(documents, []byte("\n---\n")), api.WriteOptions{Wait: wait})
	g.settled(wait, answer, err)
}

// remove deletes a server and waits for Envoy.
func (g *benchGateway) remove(wait time.Duration, name string) {
	g.b.Helper()
	answer, err := g.admin.Delete(context.Background(), registry.Key{Kind: registry.KindServer, Name: name}, api.WriteOptions{Wait: wait})
	g.settled(wait, answer, err)
}

func (g *benchGateway) settled(wait time.Duration, answer api.WriteAnswer, err error) {
	g.b.Helper()
	switch {
	case err != nil:
		g.b.Fatal(err)
	case wait == 0:
	case !answer.Rollout.Complete || answer.Rollout.Envoys != 1 || len(answer.Rollout.Rejections) > 0:
		g.b.Fatalf("rollout %+v", answer.Rollout)
	}
}

// server is a Server of that name at an upstream's address.
func server(name, upstream string) *registry.Server {
	return &registry.Server{Name: name, Upstream: registry.Upstream{URL: "http://" + upstream + "/mcp"}}
}

// fill adds n servers, each with a Scope of its own.
func (g *benchGateway) fill(n int, upstream string) {
	g.b.Helper()
	var all []registry.Resource
	for i := range n {
		name := fmt.Sprintf("s%05d", i)
		all = append(all, server(name, upstream), &registry.Scope{
			Name: name + ":use", Rules: []registry.Rule{{Servers: []string{name}, Tools: []registry.Pattern{"get_forecast", "list_*"}}},
		})
	}
	for part := range slices.Chunk(all, 2000) {
		g.put(0, part...)
	}
}

// startEnvoy runs an Envoy with the program's bootstrap and what extra adds to
// its static listeners and clusters, and waits until it has everything.
func (g *benchGateway) startEnvoy(extra ...map[string][]any) {
	g.b.Helper()
	socket := func(name string) string { return "unix:" + filepath.Join(g.dir, name) }
	m, err := envoy.Bootstrap{XDSAddress: socket("xds.sock"), AuthzAddress: socket("authz.sock"), WebAddress: socket("web.sock")}.Proto()
	if err != nil {
		g.b.Fatal(err)
	}
	bootstrap := asMap(g.b, m)
	static := at[map[string]any](g.b, bootstrap, "static_resources")
	for _, more := range extra {
		for kind, list := range more {
			have, _ := static[kind].([]any)
			static[kind] = append(have, list...)
		}
	}
	text, err := yaml.Marshal(bootstrap)
	if err != nil {
		g.b.Fatal(err)
	}
	g.envoy = envoytest.Start(g.b, text, envoytest.WithLogLevel("warning"))
	// The health check's scope is the last that a new Envoy gets. Ten thousand
	// servers take it a while.
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	k := &benchConn{address: g.address}
	defer k.close()
	for k.do([]byte("GET /healthz HTTP/1.1\r\nHost: "+g.address+"\r\n\r\n")) != "200" {
		select {
		case <-tick.C:
		case <-deadline:
			g.b.Fatalf("Envoy has not all resources after two minutes\n%s", g.program.log)
		}
	}
}

// asMap is a message as the map that its YAML is read into.
func asMap(b *testing.B, m proto.Message) map[string]any {
	b.Helper()
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	var out map[string]any
	if err := yaml.Unmarshal(text, &out); err != nil {
		b.Fatal(err)
	}
	return out
}

// at is what lies under a path of keys; a list has only its first element.
func at[T any](b *testing.B, v any, path ...string) T {
	b.Helper()
	for _, key := range path {
		if list, ok := v.([]any); ok && len(list) > 0 {
			v = list[0]
		}
		m, _ := v.(map[string]any)
		v = m[key]
	}
	out, ok := v.(T)
	if !ok {
		b.Fatalf("%v is a %T", path, v)
	}
	return out
}

// variant is the gateway's own listener at another port, with its HTTP
// filters changed by edit, which may drop one.
func (g *benchGateway) variant(name string, port int, edit func(filter string, config map[string]any) (keep bool)) map[string][]any {
	g.b.Helper()
	l, err := xds.Listener(xds.Config{ExternalURL: g.url, Listen: fmt.Sprintf("127.0.0.1:%d", port)})
	if err != nil {
		g.b.Fatal(err)
	}
	l.Name = name
	m := asMap(g.b, l)
	manager := at[map[string]any](g.b, m, "filter_chains", "filters", "typed_config")
	manager["http_filters"] = slices.DeleteFunc(at[[]any](g.b, manager, "http_filters"), func(f any) bool {
		return !edit(at[string](g.b, f, "name"), at[map[string]any](g.b, f, "typed_config"))
	})
	return map[string][]any{"listeners": {m}}
}

// emptyShape is the configuration that the gateway is compared with (V2 of
// docs/performance.md): nothing but a connection manager with a buffer and an
// ext_authz filter, one route and its cluster. It asks the service at socket.
func emptyShape(b *testing.B, port int, socket, upstream string) map[string][]any {
	b.Helper()
	host, upstreamPort, err := net.SplitHostPort(upstream)
	if err != nil {
		b.Fatal(err)
	}
	var out map[string][]any
	if err := yaml.Unmarshal(fmt.Appendf(nil, emptyShapeYAML, port, host, upstreamPort, socket), &out); err != nil {
		b.Fatal(err)
	}
	return out
}

const emptyShapeYAML = `
listeners:
- name: empty-shape
  address: {socket_address: {address: 127.0.0.1, port_value: %d}}
  filter_chains:
  - filters:
    - name: envoy.filters.network.http_connection_manager
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        stat_prefix: empty
        normalize_path: true
        route_config:
          virtual_hosts:
          - name: all
            domains: ["*"]
            routes:
            - match: {path: /bench/mcp}
              metadata: {filter_metadata: {mcpgate: {server: bench}}}
              route: {cluster: empty-upstream, prefix_rewrite: /mcp, timeout: 0s}
        http_filters:
        - name: envoy.filters.http.buffer
          typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer, max_request_bytes: 1048576}
        - name: envoy.filters.http.ext_authz
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
            transport_api_version: V3
            grpc_service: {envoy_grpc: {cluster_name: empty}, timeout: 2s}
            with_request_body: {max_request_bytes: 1114112, allow_partial_message: false, pack_as_bytes: true}
            encode_raw_headers: true
            validate_mutations: true
            decoder_header_mutation_rules: {disallow_is_error: true}
            status_on_error: {code: ServiceUnavailable}
            failure_mode_allow: false
            route_metadata_context_namespaces: [mcpgate]
            emit_filter_state_stats: true
        - name: envoy.filters.http.router
          typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
clusters:
- name: empty-upstream
  type: STATIC
  connect_timeout: 1s
  load_assignment: {cluster_name: empty-upstream, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %s, port_value: %s}}}}]}]}
- name: empty
  type: STATIC
  connect_timeout: 0.25s
  circuit_breakers: {thresholds: [{max_requests: 20000, max_pending_requests: 20000}]}
  typed_extension_protocol_options:
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
      explicit_http_config: {http2_protocol_options: {connection_keepalive: {interval: 5s, timeout: 1s}, max_concurrent_streams: 1000}}
  load_assignment: {cluster_name: empty, endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: %s}}}}]}]}
`
