package xds

import (
	"net/http"

	"cel.dev/expr"
	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	xdstypev3 "github.com/cncf/xds/go/xds/type/v3"
	customresponsev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/custom_response/v3"
	localpolicyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/custom_response/local_response_policy/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// refusalStatus are the replies of an upstream that speak of the gateway's
// credential or would send the client elsewhere.
const refusalStatus = "3[0-9][0-9]|401|403|407"

// upstreamRefusals answers 502 in the place of an upstream's 401, 403, 407 or
// redirect. It stands after ext_proc in the list, so it sees the reply first,
// and nothing of it goes further.
func upstreamRefusals() (*customresponsev3.CustomResponse, error) {
	status, err := typed("status", &matcherv3.HttpResponseStatusCodeMatchInput{})
	if err != nil {
		return nil, err
	}
	attributes, err := typed("attributes", &xdsmatcherv3.HttpAttributesCelMatchInput{})
	if err != nil {
		return nil, err
	}
	expression, err := typed("envoy.matching.matchers.cel_matcher", &xdsmatcherv3.CelMatcher{
		ExprMatch: &xdstypev3.CelExpression{CelExprParsed: refusalRoutes()},
	})
	if err != nil {
		return nil, err
	}
	policy, err := typed("refused", &localpolicyv3.LocalResponsePolicy{
		// The body comes from the local reply mappers.
		StatusCode: wrapperspb.UInt32(http.StatusBadGateway),
	})
	if err != nil {
		return nil, err
	}
	predicate := func(p *xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate) *xdsmatcherv3.Matcher_MatcherList_Predicate {
		return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{SinglePredicate: p}}
	}
	return &customresponsev3.CustomResponse{CustomResponseMatcher: &xdsmatcherv3.Matcher{
		MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: &xdsmatcherv3.Matcher_MatcherList{
			Matchers: []*xdsmatcherv3.Matcher_MatcherList_FieldMatcher{{
				Predicate: &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_AndMatcher{
					AndMatcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_PredicateList{
						Predicate: []*xdsmatcherv3.Matcher_MatcherList_Predicate{
							predicate(&xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
								Input: status,
								Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{ValueMatch: &xdsmatcherv3.StringMatcher{
									MatchPattern: &xdsmatcherv3.StringMatcher_SafeRegex{SafeRegex: &xdsmatcherv3.RegexMatcher{
										EngineType: &xdsmatcherv3.RegexMatcher_GoogleRe2{GoogleRe2: &xdsmatcherv3.RegexMatcher_GoogleRE2{}},
										Regex:      refusalStatus,
									}},
								}},
							}),
							predicate(&xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
								Input: attributes,
								Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_CustomMatch{
									CustomMatch: expression,
								},
							}),
						},
					},
				}},
				OnMatch: &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{Action: policy}},
			}},
		}},
	}}, nil
}

// refusalRoutes is, in CEL,
//
//	response.code_details == 'via_upstream' && xds.route_name in ['plain', 'inspect']
//
// which means replies of upstreams, for servers that do not get the client's
// own token. Envoy's filter also sees the refusals of the authorization
// service, which must pass. Envoy reads expressions in parsed form only.
func refusalRoutes() *expr.ParsedExpr {
	var c celBuilder
	return &expr.ParsedExpr{Expr: c.call("_&&_",
		c.call("_==_", c.attribute("response", "code_details"), c.text("via_upstream")),
		c.call("@in", c.attribute("xds", "route_name"), c.list(c.text(RoutePlain), c.text(RouteInspect))),
	)}
}

// celBuilder makes expressions and gives each node its id.
type celBuilder struct{ id int64 }

func (c *celBuilder) node(e *expr.Expr) *expr.Expr {
	c.id++
	e.Id = c.id
	return e
}

func (c *celBuilder) call(function string, args ...*expr.Expr) *expr.Expr {
	return c.node(&expr.Expr{ExprKind: &expr.Expr_CallExpr{CallExpr: &expr.Expr_Call{Function: function, Args: args}}})
}

func (c *celBuilder) attribute(object, field string) *expr.Expr {
	operand := c.node(&expr.Expr{ExprKind: &expr.Expr_IdentExpr{IdentExpr: &expr.Expr_Ident{Name: object}}})
	return c.node(&expr.Expr{ExprKind: &expr.Expr_SelectExpr{SelectExpr: &expr.Expr_Select{Operand: operand, Field: field}}})
}

func (c *celBuilder) text(s string) *expr.Expr {
	return c.node(&expr.Expr{ExprKind: &expr.Expr_ConstExpr{ConstExpr: &expr.Constant{ConstantKind: &expr.Constant_StringValue{StringValue: s}}}})
}

func (c *celBuilder) list(elements ...*expr.Expr) *expr.Expr {
	return c.node(&expr.Expr{ExprKind: &expr.Expr_ListExpr{ListExpr: &expr.Expr_CreateList{Elements: elements}}})
}

// typed is an extension of a matcher.
func typed(name string, m proto.Message) (*xdscorev3.TypedExtensionConfig, error) {
	config, err := pack(m)
	if err != nil {
		return nil, err
	}
	return &xdscorev3.TypedExtensionConfig{Name: name, TypedConfig: config}, nil
}
