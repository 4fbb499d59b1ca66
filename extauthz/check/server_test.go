package check

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/mcpgate/mcpgate/extauthz"
)

// serve runs a gRPC server on a Unix socket and returns a client of it.
func serve(t *testing.T, g *grpc.Server) *grpc.ClientConn {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	lis, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- g.Serve(lis) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestServerOverGRPC(t *testing.T) {
	t.Parallel()
	f := newFixture()
	f.config.Audit = nil
	g := grpc.NewServer(ServerOptions()...)
	New(f.config).Register(g)
	healthv1.RegisterHealthServer(g, health.NewServer())
	conn := serve(t, g)
	client := authv3.NewAuthorizationClient(conn)

	r, err := client.Check(t.Context(), request("POST", "weather", callBody))
	if err != nil {
		t.Fatal(err)
	}
	allowed(t, r)
	r, err = client.Check(t.Context(), request("POST", "weather", callBody, "-authorization"))
	if err != nil {
		t.Fatal(err)
	}
	denied(t, r)

	// A large body arrives in several buffers.
	big := strings.Replace(callBody, "{}", `{"text":"`+strings.Repeat("x", 8<<20)+`"}`, 1)
	r, err = client.Check(t.Context(), request("POST", "weather", big))
	if err != nil {
		t.Fatal(err)
	}
	allowed(t, r)
	_, err = client.Check(t.Context(), request("POST", "weather", strings.Repeat("x", MaxMessageBytes)))
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message above the limit: %v", err)
	}

	// Another service of the same server takes the normal codec.
	if _, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
		t.Errorf("another service: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := client.Check(ctx, request("POST", "weather", callBody)); status.Code(err) != codes.Canceled {
		t.Errorf("after cancel: %v, %v", r, err)
	}
}

func TestServerWithoutTheCodecRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture()
	g := grpc.NewServer()
	New(f.config).Register(g)
	r, err := authv3.NewAuthorizationClient(serve(t, g)).Check(t.Context(), request("POST", "weather", callBody))
	if err == nil {
		t.Errorf("answered %v", r)
	}
}

func TestServerSurvivesPanicsAndGoesOn(t *testing.T) {
	t.Parallel()
	f := newFixture()
	f.config.Audit = nil
	g := grpc.NewServer(ServerOptions()...)
	New(f.config).Register(g)
	client := authv3.NewAuthorizationClient(serve(t, g))
	for _, token := range []string{"panic", "alice", "index", "alice"} {
		r, err := client.Check(t.Context(), request("POST", "weather", callBody, as(token)...))
		if err != nil {
			t.Fatal(err)
		}
		if token == "alice" {
			allowed(t, r)
		} else if denied(t, r); r.GetDynamicMetadata().GetFields()["rule"].GetStringValue() != string(extauthz.RulePanic) {
			t.Errorf("metadata %v", r.GetDynamicMetadata())
		}
	}
}

// TestRealVerifier: the whole way with a signed token.
func TestRealVerifier(t *testing.T) {
	t.Parallel()
	f, bearer := realFixture(t)
	set, _, _ := allowed(t, f.check(t, request("POST", "weather", callBody, as(bearer)...)))
	if set["x-mcpgate-subject"] != "alice-0123456789" {
		t.Errorf("headers %v", set)
	}
	// The token is for another server.
	status, headers, _ := denied(t, f.check(t, request("POST", "apikey", callBody, as(bearer)...)))
	if status != 401 || !strings.Contains(headers["www-authenticate"], `error="invalid_token"`) {
		t.Errorf("status %d, headers %v", status, headers)
	}
	status, _, _ = denied(t, f.check(t, request("POST", "weather", callBody, as(bearer[:len(bearer)-4]+"AAAA")...)))
	if status != 401 {
		t.Errorf("altered signature: status %d", status)
	}
	status, _, _ = denied(t, f.check(t, request("POST", "weather", callBody, "-authorization", "authorization: Bearer")))
	if status != 401 {
		t.Errorf("empty token: status %d", status)
	}
}
