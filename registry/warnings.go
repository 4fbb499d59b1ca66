package registry

import (
	"fmt"
	"net/url"
)

// Warnings lists what is legal but suspicious about r alone.
func Warnings(r Resource) []Problem {
	p := problems{key: r.Key()}
	switch r := r.(type) {
	case *Server:
		r.warn(&p)
	case *Issuer:
		if r.AudienceFrom == AudienceFromClient && len(r.Audiences) == 0 {
			p.addf("audiences", "lists no client: with audienceFrom, only servers whose access.audiences list a client's id let its tokens in")
		}
	case *Scope:
		r.warn(&p)
	case *Group:
		if len(r.Scopes) == 0 {
			p.addf("scopes", "the group gives nothing")
		}
	}
	return p.list
}

func (s *Server) warn(p *problems) {
	if s.Upstream.ForwardClientToken {
		p.addf("upstream.forwardClientToken", "the upstream gets the client's own access token and can use it elsewhere; the MCP specification forbids it")
	}
	u, err := url.Parse(s.Upstream.URL)
	if err != nil || u.Scheme != "http" || isLoopback(u.Hostname()) {
		return
	}
	what := "messages"
	switch {
	case s.Upstream.Credential != nil:
		what = "messages and the upstream's credential"
	case s.Upstream.ForwardClientToken:
		what = "messages and the client's token"
	case s.Upstream.Exchange != nil:
		what = "messages and the exchanged token"
	}
	p.addf("upstream.url", "%s cross the network in clear text: use https", what)
}

func (s *Scope) warn(p *problems) {
	if len(s.Rules) == 0 && len(s.Includes) == 0 {
		p.addf("", "the scope grants nothing: it has neither rules nor includes")
	}
	for i, r := range s.Rules {
		for j, m := range r.Methods {
			if alwaysGranted(m) {
				p.addf(fmt.Sprintf("rules[%d].methods[%d]", i, j), "%s need not be named: any rule that names the server grants it", m)
			}
		}
	}
}
