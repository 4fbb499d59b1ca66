package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/manifest"
)

// Backend is what the API stands on. Every field is required.
type Backend struct {
	Store registry.Store
	// Wait returns when every Envoy connected now has answered to everything
	// that came of the revision, or with ctx's error and what is known so far.
	Wait func(ctx context.Context, revision int64) (Rollout, error)
	// Status is the state of the program, to be encoded as JSON.
	Status func() any
	// Explain judges a request; its answer is encoded as JSON.
	Explain func(ctx context.Context, req ExplainRequest) (any, error)
	// Dump writes the configuration sent to Envoys as YAML, secrets redacted.
	Dump func(w io.Writer) error
	// Backup writes a consistent copy of the store's file.
	Backup func(ctx context.Context, w io.Writer) error
	// Version of the program.
	Version string
	Log     *slog.Logger
}

// New returns the handler of /api/v1.
func New(b Backend) http.Handler {
	s := &server{Backend: b}
	mux := http.NewServeMux()
	handle := func(pattern string, h func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			if r.ContentLength > MaxBodyBytes {
				s.fail(w, r, &http.MaxBytesError{Limit: MaxBodyBytes})
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, MaxBodyBytes)
			if err := h(w, r); err != nil {
				s.fail(w, r, err)
			}
		})
	}
	handle("GET /api/v1/{kind}", s.list)
	// One element of the path is the name, see pathKey; {name} would not match
	// a name that is a slash.
	handle("GET /api/v1/{kind}/{name...}", s.get)
	handle("PUT /api/v1/{kind}/{name...}", s.put)
	handle("DELETE /api/v1/{kind}/{name...}", s.delete)
	handle("POST /api/v1/apply", s.apply)
	handle("GET /api/v1/export", s.export)
	handle("GET /api/v1/status", s.status)
	handle("GET /api/v1/version", s.version)
	handle("POST /api/v1/explain", s.explain)
	handle("GET /api/v1/xds", s.dump)
	handle("GET /api/v1/backup", s.backup)
	handle("/", func(http.ResponseWriter, *http.Request) error { return noSuchPath() })
	return mux
}

// Authenticate lets only requests through that carry the bearer token, and
// none that a browser sent for a page (an Origin header): the guard of an API
// that listens on a network address.
func Authenticate(token string, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		got := sha256.Sum256([]byte(auth))
		switch {
		case r.Header.Get("Origin") != "":
			writeError(w, &Error{Status: http.StatusForbidden, Message: "browsers may not use this API"})
		case token == "" || !ok || subtle.ConstantTimeCompare(got[:], want[:]) != 1:
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeError(w, &Error{Status: http.StatusUnauthorized, Message: "a valid admin token is required"})
		default:
			next.ServeHTTP(w, r)
		}
	})
}

type server struct {
	Backend
}

func (s *server) list(w http.ResponseWriter, r *http.Request) error {
	kind, err := pathKind(r)
	if err != nil {
		return err
	}
	opt := registry.ListOptions{After: r.URL.Query().Get("after"), Limit: MaxPage}
	if v := r.URL.Query().Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > MaxPage {
			return badRequest("limit is a number from 1 to %d", MaxPage)
		}
		opt.Limit = n
	}
	page, err := s.Store.List(r.Context(), kind, opt)
	if err != nil {
		return err
	}
	answer := ListAnswer{Items: make([]json.RawMessage, 0, len(page.Resources)), Next: page.Next, Revision: page.Revision}
	for _, res := range page.Resources {
		b, err := registry.Encode(res)
		if err != nil {
			return err
		}
		answer.Items = append(answer.Items, b)
	}
	return writeJSON(w, answer)
}

func (s *server) get(w http.ResponseWriter, r *http.Request) error {
	key, err := pathKey(r)
	if err != nil {
		return err
	}
	res, err := s.Store.Get(r.Context(), key)
	if err != nil {
		return named(key, err)
	}
	b, err := registry.Encode(res)
	if err != nil {
		return err
	}
	w.Header().Set("ETag", etag(res.Meta().Revision))
	return writeJSON(w, json.RawMessage(b))
}

func (s *server) put(w http.ResponseWriter, r *http.Request) error {
	key, err := pathKey(r)
	if err != nil {
		return err
	}
	resources, err := readManifest(r)
	if err != nil {
		return err
	}
	if len(resources) != 1 || resources[0].Key() != key {
		return badRequest("the body must be %s alone", key)
	}
	cond, err := precondition(r)
	if err != nil {
		return err
	}
	return s.write(w, r, registry.Batch{Writes: []registry.Write{{Resource: resources[0], Revision: cond}}})
}

func (s *server) delete(w http.ResponseWriter, r *http.Request) error {
	key, err := pathKey(r)
	if err != nil {
		return err
	}
	cond, err := precondition(r)
	if err != nil {
		return err
	}
	return s.write(w, r, registry.Batch{Writes: []registry.Write{{Delete: &key, Revision: cond}}})
}

func (s *server) apply(w http.ResponseWriter, r *http.Request) error {
	resources, err := readManifest(r)
	if err != nil {
		return err
	}
	batch := registry.Batch{Writes: make([]registry.Write, len(resources))}
	for i, res := range resources {
		batch.Writes[i].Resource = res
	}
	if batch.Prune, err = queryBool(r, "prune"); err != nil {
		return err
	}
	return s.write(w, r, batch)
}

// write applies the batch and, when asked, waits for the Envoys. The order of
// the answer's fields is that of Result.
func (s *server) write(w http.ResponseWriter, r *http.Request, batch registry.Batch) error {
	wait, err := queryDuration(r, "wait")
	if err != nil {
		return err
	}
	if batch.DryRun, err = queryBool(r, "dryRun"); err != nil {
		return err
	}
	result, err := registry.Apply(r.Context(), s.Store, batch)
	if err != nil {
		return err
	}
	answer := WriteAnswer{Revision: result.Revision, DryRun: batch.DryRun, Outcomes: make([]Outcome, 0, len(result.Outcomes))}
	for _, o := range result.Outcomes {
		answer.Outcomes = append(answer.Outcomes, Outcome{Kind: o.Key.Kind, Name: o.Key.Name, Action: o.Action})
	}
	for _, p := range result.Warnings {
		answer.Warnings = append(answer.Warnings, newProblem(p))
	}
	if !batch.DryRun && wait > 0 {
		ctx, cancel := context.WithTimeout(r.Context(), wait)
		defer cancel()
		rollout, err := s.Wait(ctx, result.Revision)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("wait for envoys: %w", err)
		}
		answer.Rollout = &rollout
	}
	return writeJSON(w, answer)
}

func (s *server) export(w http.ResponseWriter, r *http.Request) error {
	snap, err := s.Store.Snapshot(r.Context())
	if err != nil {
		return err
	}
	var out []registry.Resource
	for _, kind := range registry.Kinds() {
		for _, res := range snap.Resources {
			if res.Key().Kind == kind {
				out = append(out, res)
			}
		}
	}
	b, err := manifest.Marshal(out, false)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/yaml")
	_, err = w.Write(b)
	return err
}

func (s *server) status(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, s.Status())
}

func (s *server) version(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, map[string]string{"version": s.Version})
}

func (s *server) explain(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, MaxExplainBytes)
	var req ExplainRequest
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	var tooBig *http.MaxBytesError
	switch err := dec.Decode(&req); {
	case errors.As(err, &tooBig):
		return err
	case err != nil:
		return badRequest("the body is not an explain request")
	}
	answer, err := s.Explain(r.Context(), req)
	if err != nil {
		return err
	}
	return writeJSON(w, answer)
}

func (s *server) dump(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/yaml")
	return s.Dump(w)
}

func (s *server) backup(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "application/octet-stream")
	return s.Backup(r.Context(), w)
}

// fail answers with the error. Text of an internal error stays in the log.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	answer := newError(err)
	if answer.Status >= http.StatusInternalServerError {
		s.Log.ErrorContext(r.Context(), "admin request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	writeError(w, answer)
}

// newError maps an error to its answer: the one place where statuses are
// chosen.
func newError(err error) *Error {
	var (
		apiErr  *Error
		invalid *registry.InvalidError
		tooBig  *http.MaxBytesError
	)
	switch {
	case errors.As(err, &apiErr):
		return apiErr
	case errors.As(err, &invalid):
		e := &Error{Status: http.StatusUnprocessableEntity, Message: "the write is invalid"}
		for _, p := range invalid.Problems {
			e.Problems = append(e.Problems, newProblem(p))
		}
		return e
	case errors.As(err, &tooBig):
		return &Error{Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("the body is larger than %d bytes", tooBig.Limit)}
	case errors.Is(err, registry.ErrNotFound):
		return &Error{Status: http.StatusNotFound, Message: err.Error()}
	case errors.Is(err, registry.ErrConflict):
		return &Error{Status: http.StatusConflict, Message: err.Error()}
	}
	return &Error{Status: http.StatusInternalServerError, Message: "internal error; see the log of the gateway"}
}

func newProblem(p registry.Problem) Problem {
	return Problem{Resource: p.Key.String(), Field: p.Field, Message: p.Message}
}

func named(key registry.Key, err error) error {
	if errors.Is(err, registry.ErrNotFound) {
		return fmt.Errorf("%s: %w", key, registry.ErrNotFound)
	}
	return err
}

func badRequest(format string, args ...any) error {
	return &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...)}
}

func pathKind(r *http.Request) (registry.Kind, error) {
	kind, ok := registry.ParseKind(r.PathValue("kind"))
	if !ok {
		return "", &Error{Status: http.StatusNotFound, Message: fmt.Sprintf("no kind %q", r.PathValue("kind"))}
	}
	return kind, nil
}

// pathKey reads /api/v1/{kind}/{name}, where any character of the name that
// means something in a path is escaped.
func pathKey(r *http.Request) (registry.Key, error) {
	kind, err := pathKind(r)
	if err != nil {
		return registry.Key{}, err
	}
	parts := strings.Split(r.URL.EscapedPath(), "/")
	if len(parts) != 5 || parts[4] == "" {
		return registry.Key{}, noSuchPath()
	}
	name, err := url.PathUnescape(parts[4])
	if err != nil {
		return registry.Key{}, noSuchPath()
	}
	return registry.Key{Kind: kind, Name: name}, nil
}

func noSuchPath() error { return &Error{Status: http.StatusNotFound, Message: "no such path"} }

func readManifest(r *http.Request) ([]registry.Resource, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	name := r.URL.Query().Get("file")
	if name == "" {
		name = "body"
	}
	resources, err := manifest.Parse(name, body)
	if err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Message: err.Error()}
	}
	return resources, nil
}

// precondition reads If-Match and If-None-Match (RFC 9110 section 13.1): the
// revision the resource must have, 0 for "must not exist", nil for none.
func precondition(r *http.Request) (*int64, error) {
	match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	switch {
	case match == "" && none == "":
		return nil, nil //nolint:nilnil // no precondition is not an error
	case match != "" && none != "", none != "" && none != "*":
		return nil, badRequest(`use either If-Match with one revision, or "If-None-Match: *"`)
	case none == "*":
		return new(int64), nil
	}
	n, err := strconv.ParseInt(strings.Trim(match, `"`), 10, 64)
	if err != nil || n < 1 || etag(n) != match {
		return nil, badRequest("If-Match is the ETag of the resource")
	}
	return &n, nil
}

func etag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

func queryBool(r *http.Request, name string) (bool, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, badRequest("%s is true or false", name)
	}
	return b, nil
}

func queryDuration(r *http.Request, name string) (time.Duration, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 || d > MaxWait {
		return 0, badRequest("%s is a duration from 0 to %s", name, MaxWait)
	}
	return d, nil
}

func writeJSON(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(append(b, '\n'))
	return err
}

func writeError(w http.ResponseWriter, e *Error) {
	b, err := json.Marshal(e)
	if err != nil {
		b = []byte(`{"status":500,"message":"internal error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	// The client may be gone; there is nobody left to tell.
	_, _ = w.Write(append(b, '\n'))
}
