package listfilter

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/registry"
)

// revoke puts a Revocation into force.
func revoke(p *extauthz.Policies, r *registry.Revocation) {
	p.Apply(registry.Event{Revision: p.Revision() + 1, Changes: []registry.Change{{Key: r.Key(), Resource: r}}})
}

// TestRevocationEndsOpenStreams: a Revocation ends the streams of whom it
// names, at once, whatever they are doing, and no other.
func TestRevocationEndsOpenStreams(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]*registry.Revocation{
		"subject": {Subject: "alice"},
		"client":  {Client: "agent"},
		"token":   {TokenID: "t-1"},
		"session": {Session: "s-1"},
		"issuer":  {Issuer: "corp"},
		"all":     {Issuer: "corp", Subject: "alice", Client: "agent", TokenID: "t-1", Session: "s-1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const event = `data: {"jsonrpc":"2.0","method":"notifications/x"}` + "\n\n"
			policies := weather()
			c := dial(t, newServer(t, Config{Policies: policies}))
			opened := func(changes ...string) wire {
				t.Helper()
				w := open(t, c)
				w.send(start(about(append([]string{"inspect=resume", "method=", "id=", "token_id=t-1", "session=s-1"}, changes...)...), false, ok, asEvents))
				if m := w.next(); m.GetResponseHeaders() == nil {
					t.Fatalf("the stream does not begin: %v", m)
				}
				return w
			}
			mine := opened()
			other := opened("issuer=partner", "subject=bob", "client=editor", "token_id=t-2", "session=s-2")
			r.Name = "other"
			revoke(policies, &registry.Revocation{Name: "nobody", Subject: "nobody"})
			mine.send(piece(event))
			if m := mine.next(); m.GetResponseBody() == nil {
				t.Fatalf("the stream ended with another's revocation: %v", m)
			}
			r.Name = "r"
			revoke(policies, r)
			if _, err := mine.stream.Recv(); status.Code(err) != codes.Aborted || status.Convert(err).Message() != string(reasonRevoked) {
				t.Errorf("the stream ended with %v", err)
			}
			other.send(piece(event))
			if m := other.next(); m.GetResponseBody() == nil {
				t.Errorf("another's stream ended: %v", m)
			}
		})
	}
}

// TestRevocationBeforeTheReply: between the decision and the reply there is
// time for a Revocation, and then the reply is not shown.
func TestRevocationBeforeTheReply(t *testing.T) {
	t.Parallel()
	policies := weather()
	c := dial(t, newServer(t, Config{Policies: policies}))
	held := open(t, c)
	held.send(start(about(), false, ok, asJSON), piece(listed[:20]))
	revoke(policies, &registry.Revocation{Name: "r", Subject: "alice"})
	want := refused(401, failure("1", -32603, "The request could not be answered."))
	if diff := cmp.Diff(want, held.receive(), cmp.AllowUnexported(answered{})); diff != "" {
		t.Errorf("a held reply (-want +got)\n%s", diff)
	}
	late := open(t, c)
	late.send(start(about("inspect=resume", "method=", "id="), false, ok, asEvents))
	m := late.next()
	if m.GetImmediateResponse().GetStatus().GetCode() != 401 {
		// The headers may have gone out a moment before.
		if m.GetResponseHeaders() == nil {
			t.Fatalf("got %v", m)
		}
		if _, err := late.stream.Recv(); status.Code(err) != codes.Aborted {
			t.Errorf("a new stream ended with %v", err)
		}
	}
}

// TestTokensIssuedLaterAreSpared: the time of issue reaches the filter; a
// token that has none is not spared.
func TestTokensIssuedLaterAreSpared(t *testing.T) {
	t.Parallel()
	for at, spared := range map[string]bool{
		"2026-11-25T12:00:00Z": true, "2026-11-25T11:59:59.999999999Z": false, "": false, "yesterday": false,
	} {
		d, err := readDecision(about("inspect=resume", "method=", "id=", "issued_at="+at))
		if err != nil {
			t.Fatal(err)
		}
		policies := weather()
		r := &registry.Revocation{Name: "r", Subject: "alice"}
		if err := r.IssuedBefore.UnmarshalJSON([]byte(`"2026-11-25T12:00:00Z"`)); err != nil {
			t.Fatal(err)
		}
		revoke(policies, r)
		if revoked, _ := (compiled{policies}).revoked(&d.token); revoked == spared {
			t.Errorf("issued at %q: revoked is %t", at, revoked)
		}
	}
}
