package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/token"
	"github.com/mcpgate/mcpgate/registry/api"
	"github.com/mcpgate/mcpgate/xds/ads"
)

// status is what `mcpgate status` shows.
type status struct {
	Version string `json:"version"`
	URL     string `json:"url"`
	ads.Status
	Issuers []issuerStatus `json:"issuers"`
}

// issuerStatus is the state of one issuer's keys.
type issuerStatus struct {
	Name   string `json:"name"`
	URL    string `json:"url"`
	Usable bool   `json:"usable"`
	Keys   int    `json:"keys"`
	// KeyAgeSeconds is the time since the issuer last confirmed its keys.
	KeyAgeSeconds float64  `json:"keyAgeSeconds,omitempty"`
	Skipped       []string `json:"skipped,omitempty"`
	LastError     string   `json:"lastError,omitempty"`
	// Introspection is where the issuer is asked about its tokens; it has no
	// keys then.
	Introspection string `json:"introspection,omitempty"`
}

// backend is what the admin API stands on.
func (g *gateway) backend() api.Backend {
	return api.Backend{
		Store:   g.store,
		Wait:    g.wait,
		Status:  func() any { return g.status() },
		Explain: g.explain,
		Dump:    g.dump,
		Backup:  g.store.Backup,
		Version: Version,
		Log:     g.log,
	}
}

// wait returns when the revision decides about requests, and every Envoy that
// is connected has answered to it.
func (g *gateway) wait(ctx context.Context, revision int64) (api.Rollout, error) {
	if err := g.applied.wait(ctx, revision); err != nil {
		return api.Rollout{}, err
	}
	report, err := g.ads.Wait(ctx, revision)
	rollout := api.Rollout{Envoys: report.Envoys, Complete: err == nil}
	for _, r := range report.Rejected {
		rollout.Rejections = append(rollout.Rejections, api.Rejection{Node: r.Node, Type: r.Type, Resource: r.Name, Message: r.Message})
	}
	return rollout, err
}

func (g *gateway) status() status {
	s := status{Version: Version, URL: g.cfg.ExternalURL, Status: g.ads.Status(), Issuers: []issuerStatus{}}
	for _, i := range g.tokens.Status() {
		s.Issuers = append(s.Issuers, issuerStatus{
			Name: i.Name, URL: i.URL, Usable: i.Usable, Keys: i.Keys,
			KeyAgeSeconds: i.KeyAge.Seconds(), Skipped: i.Skipped, LastError: i.LastError, Introspection: i.Introspection,
		})
	}
	return s
}

// explain judges an imagined request of the token's, or of an imagined,
// caller.
func (g *gateway) explain(ctx context.Context, req api.ExplainRequest) (any, error) {
	if req.Server == "" || req.Method == "" {
		return nil, &api.Error{Status: http.StatusBadRequest, Message: "server and method are needed"}
	}
	q := extauthz.Query{
		Server: req.Server, Method: req.Method, Target: req.Target, At: time.Now(),
		Caller: extauthz.Caller{Issuer: req.Issuer, Scopes: req.Scopes, Groups: req.Groups},
	}
	policy, known := g.policies.Server(req.Server)
	if req.Token == "" || !known {
		return g.policies.Explain(q), nil
	}
	caller, err := g.tokens.Verify(ctx, req.Token, token.Want{Issuers: policy.Issuers, Audiences: policy.Audiences})
	if refused, ok := errors.AsType[*token.Error](err); ok {
		d := policy.Refuse(refused.Rule, refused.Reason)
		return extauthz.Explanation{
			Rule: d.Rule, Reason: d.Reason, Status: d.Rule.Answer().Status, Challenge: d.Challenge(policy), Revision: g.policies.Revision(),
		}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("verify token: %w", err)
	}
	q.Caller = *caller
	return g.policies.Explain(q), nil
}

// dump writes the resources as YAML documents, each with its type.
func (g *gateway) dump(w io.Writer) error {
	resources, err := g.ads.Dump()
	if err != nil {
		return err
	}
	list := make([]json.RawMessage, 0, len(resources))
	for _, r := range resources {
		packed, err := anypb.New(r)
		if err != nil {
			return fmt.Errorf("pack resource: %w", err)
		}
		b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(packed)
		if err != nil {
			return fmt.Errorf("encode resource: %w", err)
		}
		list = append(list, b)
	}
	b, err := json.Marshal(map[string]any{"resources": list})
	if err != nil {
		return fmt.Errorf("encode resources: %w", err)
	}
	text, err := yaml.JSONToYAML(b)
	if err != nil {
		return fmt.Errorf("encode resources: %w", err)
	}
	_, err = w.Write(text)
	return err
}
