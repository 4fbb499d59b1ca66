package xds_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"

	"github.com/mcpgate/mcpgate/envoy/envoytest"
	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/xds"
)

var update = flag.Bool("update", false, "write the goldens anew")

// golden is one file of testdata: what goes in, and what comes out of it.
//
//	config.yaml    fields of Config; optional
//	registry.yaml  versions of one server, oldest first; optional
//	snapshot.yaml  out: the clusters and the scope
//	listener.yaml  out: the listener and the fixed scopes; only where present
type golden struct {
	name    string
	archive *txtar.Archive

	clusters  []*clusterv3.Cluster
	scopes    []*routev3.ScopedRouteConfiguration
	listeners []*listenerv3.Listener
}

// goldens reads all of testdata and builds the resources.
func goldens(t *testing.T) []*golden {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	var out []*golden
	for _, path := range paths {
		a, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		g := &golden{name: strings.TrimSuffix(filepath.Base(path), ".txtar"), archive: a}
		g.build(t)
		out = append(out, g)
	}
	return out
}

// file is a part of the archive, nil when it is absent.
func (g *golden) file(name string) *txtar.File {
	for i := range g.archive.Files {
		if g.archive.Files[i].Name == name {
			return &g.archive.Files[i]
		}
	}
	return nil
}

// build makes the resources from the inputs.
func (g *golden) build(t *testing.T) {
	t.Helper()
	cfg := xds.Config{ExternalURL: "https://gw.test", Listen: "0.0.0.0:8443", AllowedOrigins: []string{"https://app.example"}}
	if f := g.file("config.yaml"); f != nil {
		cfg = xds.Config{}
		if err := yaml.UnmarshalStrict(f.Data, &cfg); err != nil {
			t.Fatalf("%s: %v", g.name, err)
		}
	}
	if f := g.file("registry.yaml"); f != nil {
		var versions []*registry.Server
		for doc := range bytes.SplitSeq(f.Data, []byte("---\n")) {
			s := &registry.Server{}
			if err := yaml.UnmarshalStrict(doc, s); err != nil {
				t.Fatalf("%s: %v", g.name, err)
			}
			versions = append(versions, s)
			g.clusters = append(g.clusters, must(xds.Cluster(s, cfg)))
		}
		g.scopes = append(g.scopes, must(xds.ServerScope(versions, 1, cfg)))
	}
	if g.file("listener.yaml") != nil {
		g.listeners = append(g.listeners, must(xds.Listener(cfg)))
		g.scopes = append(g.scopes, must(xds.FixedScopes(1, cfg))...)
	}
}

// resources are all, each with its type.
func (g *golden) resources() []proto.Message {
	var out []proto.Message
	for _, m := range g.listeners {
		out = append(out, m)
	}
	for _, m := range g.clusters {
		out = append(out, m)
	}
	for _, m := range g.scopes {
		out = append(out, m)
	}
	return out
}

// marshal is the form of a golden: YAML documents, each with its @type.
func marshal(t *testing.T, list []proto.Message) []byte {
	t.Helper()
	var docs [][]byte
	for _, m := range list {
		docs = append(docs, toYAML(t, must(anypb.New(m))))
	}
	return bytes.Join(docs, []byte("---\n"))
}

func TestGoldens(t *testing.T) {
	t.Parallel()
	for _, g := range goldens(t) {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			if len(g.archive.Comment) == 0 {
				t.Error("no comment names the rule that is guarded")
			}
			name := "snapshot.yaml"
			if len(g.listeners) > 0 {
				name = "listener.yaml"
			}
			got := marshal(t, g.resources())
			if *update {
				if f := g.file(name); f != nil {
					f.Data = got
				} else {
					g.archive.Files = append(g.archive.Files, txtar.File{Name: name, Data: got})
				}
				if err := os.WriteFile(filepath.Join("testdata", g.name+".txtar"), txtar.Format(g.archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			f := g.file(name)
			if f == nil {
				t.Fatalf("no %s; run with -update", name)
			}
			if diff := cmp.Diff(string(f.Data), string(got)); diff != "" {
				t.Errorf("built differs from the golden (-want +got); after a look run with -update:\n%s", diff)
			}
			// What is written reads back as the same resources.
			i := 0
			for doc := range bytes.SplitSeq(f.Data, []byte("---\n")) {
				var a anypb.Any
				if err := protojson.Unmarshal(must(yaml.YAMLToJSON(doc)), &a); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(g.resources()[i], must(a.UnmarshalNew()), protocmp.Transform()); diff != "" {
					t.Errorf("read back: %s", diff)
				}
				i++
			}
		})
	}
}

func TestGoldensAreValid(t *testing.T) {
	t.Parallel()
	for _, g := range goldens(t) {
		for _, m := range g.resources() {
			if err := xds.Validate(m); err != nil {
				t.Errorf("%s: %v", g.name, err)
			}
		}
	}
}

// TestGoldensAreAcceptedByEnvoy gives all resources of all goldens to one
// Envoy. Names are made unique, since a golden does not know of the others.
func TestGoldensAreAcceptedByEnvoy(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, t.TempDir(), "ca")
	var clusters []*clusterv3.Cluster
	var scopes []*routev3.ScopedRouteConfiguration
	var listeners []*listenerv3.Listener
	for _, g := range goldens(t) {
		for _, c := range g.clusters {
			c.Name = g.name + "-" + c.Name
			c.LoadAssignment.ClusterName = c.Name
			if s := c.GetTransportSocket(); s != nil {
				// The file of a golden is not on this machine.
				var config tlsv3.UpstreamTlsContext
				if err := s.GetTypedConfig().UnmarshalTo(&config); err != nil {
					t.Fatal(err)
				}
				config.GetCommonTlsContext().GetValidationContext().GetTrustedCa().Specifier = tlsFile(ca.file)
				s.ConfigType = tlsConfig(must(anypb.New(&config)))
			}
			clusters = append(clusters, c)
		}
		for _, s := range g.scopes {
			s.Name = g.name + "-" + s.Name
			s.Key.Fragments[0].Type = &routev3.ScopedRouteConfiguration_Key_Fragment_StringKey{StringKey: s.Name}
			s.RouteConfiguration.Name = s.Name
			scopes = append(scopes, s)
		}
		for i, l := range g.listeners {
			l.Name = fmt.Sprintf("%s-%d", g.name, i)
			listeners = append(listeners, l)
		}
	}
	if len(clusters) < 8 || len(scopes) < 8 || len(listeners) < 2 {
		t.Fatalf("only %d clusters, %d scopes and %d listeners", len(clusters), len(scopes), len(listeners))
	}
	envoytest.Validate(t, toYAML(t, static(t, clusters, listeners, scopes)))

	// The check itself: Envoy refuses what is wrong.
	bad := proto.CloneOf(clusters[0])
	bad.Name = "bad"
	bad.LoadAssignment.Endpoints[0].LbEndpoints[0].GetEndpoint().GetAddress().GetSocketAddress().Address = "not.an.address"
	bad.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	if err := envoytest.Check(t, toYAML(t, static(t, []*clusterv3.Cluster{bad}, nil, nil))); err == nil {
		t.Error("envoy accepts a STATIC cluster with a host name")
	}
}
