package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/config"
)

// Each row is one problem, and the only one.
func TestValidate(t *testing.T) {
	t.Parallel()
	long := "/" + strings.Repeat("x", 100)
	for _, c := range []struct{ text, problem string }{
		{"externalURL: ftp://a", `externalURL: "ftp://a" is not an http or https URL`},
		{"externalURL: 'http://'\ngateway: {hosts: [a]}", "externalURL: "},
		{"externalURL: 'http://a b'\ngateway: {hosts: [a]}", "externalURL: "},
		{"externalURL: 'http://a/path'", "externalURL: "},
		{"externalURL: 'http://a//'", "externalURL: "},
		{"externalURL: 'http://a?q'", "externalURL: "},
		{"externalURL: 'http://a?'", "externalURL: "},
		{"externalURL: 'http://a#f'", "externalURL: "},
		{"externalURL: 'http://a#'", "externalURL: "},
		{"externalURL: 'http://u@a'", "externalURL: "},
		{"gateway: {listen: '8080'}", "gateway.listen: "},
		{"gateway: {listen: ':8080'}", "gateway.listen: "},
		{"gateway: {listen: '127.0.0.1:0'}", "gateway.listen: "},
		{"gateway: {listen: '127.0.0.1:65536'}", "gateway.listen: "},
		{"gateway: {listen: 'gw.example:80'}", "gateway.listen: "},
		{"gateway: {listen: 'unix:/a'}", "gateway.listen: "},
		{"gateway: {tls: {certFile: a}}", "gateway.tls: "},
		{"gateway: {tls: {keyFile: a}}", "gateway.tls: "},
		{"gateway: {hosts: ['*']}", "gateway.hosts[0]: "},
		{"gateway: {hosts: [a, 'b:80']}", "gateway.hosts[1]: "},
		{"gateway: {hosts: ['']}", "gateway.hosts[0]: "},
		{"gateway: {allowedOrigins: ['*']}", "gateway.allowedOrigins[0]: "},
		{"gateway: {allowedOrigins: ['null']}", "gateway.allowedOrigins[0]: "},
		{"gateway: {allowedOrigins: ['https://a/']}", "gateway.allowedOrigins[0]: "},
		{"gateway: {allowedOrigins: ['https://*.a']}", "gateway.allowedOrigins[0]: "},
		{"gateway: {maxRequestBytes: 1023}", "gateway.maxRequestBytes: "},
		{"gateway: {maxRequestBytes: 17MiB}", "gateway.maxRequestBytes: "},
		{"gateway: {denial: html}", "gateway.denial: "},
		{"store: {type: etcd2}", "store.type: "},
		{"store: {bolt: {path: a.db}}", "store.bolt.path: "},
		{"xds: {listen: 'unix:a'}", "xds.listen: "},
		{"xds: {listen: 'unix:" + long + "'}", "xds.listen: "},
		{"xds: {listen: 'a', insecure: true}", "xds.listen: "},
		{"xds: {listen: '10.0.0.1:1'}", "xds.tls: "},
		{"xds: {listen: '10.0.0.1:1', tls: {certFile: a, keyFile: b}}", "xds.tls: "},
		{"extAuthz: {listen: '127.0.0.1:1'}", "extAuthz.tls: "},
		{"extAuthz: {listen: '10.0.0.1:1', insecure: true, tls: {clientCAFile: a}}", "extAuthz.tls: "},
		{"web: {listen: '10.0.0.1:1'}", "web.tls: "},
		{"web: {listen: 'unix:/d/xds.sock'}", "web.listen: is the address of xds.listen as well"},
		{"extAuthz: {timeout: 9ms}", "extAuthz.timeout: "},
		{"extAuthz: {timeout: 11s}", "extAuthz.timeout: "},
		{"admin: {listen: '10.0.0.1:1', token: 'env:T'}", "admin.tls: "},
		{"admin: {listen: '10.0.0.1:1', insecure: true}", "admin.token: "},
		{"admin: {token: hunter2}", "admin.token: must be a reference"},
		{"admin: {listen: 'unix:a'}", "admin.listen: "},
		{"sessions: {rotate: 30s}", "sessions.rotate: "},
		{"sessions: {rotate: 2h, keep: 1h}", "sessions.keep: "},
		{"envoy: {concurrency: -1}", "envoy.concurrency: "},
		{"envoy: {concurrency: 1025}", "envoy.concurrency: "},
		{"envoy: {adminListen: '10.0.0.1:9901'}", "envoy.adminListen: "},
		{"envoy: {adminListen: '127.0.0.1:99999'}", "envoy.adminListen: "},
		{"envoy: {adminListen: 'unix:a'}", "envoy.adminListen: "},
		{"envoy: {logLevel: loud}", "envoy.logLevel: "},
		{"log: {level: loud}", "log.level: "},
		{"log: {format: xml}", "log.format: "},
	} {
		_, err := config.Parse([]byte("dataDir: /d\n" + c.text))
		problems := problemsOf(err)
		if len(problems) != 1 || !strings.HasPrefix(problems[0], c.problem) {
			t.Errorf("%s\n got %q\nwant %q", c.text, problems, c.problem)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats a secret: %v", err)
		}
	}
}

func TestValidateAccepts(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"gateway: {listen: 'localhost:8080'}",
		"externalURL: 'https://a.example:8443'\ngateway: {listen: '[::]:8443'}",
		"gateway: {hosts: [a.example, '[::1]', '10.0.0.1']}",
		"gateway: {allowedOrigins: [https://a.example, 'http://localhost:3000', 'http://localhost:*']}",
		"gateway: {maxRequestBytes: 16MiB}",
		"gateway: {denial: jsonrpc}",
		"xds: {listen: '10.0.0.1:1', insecure: true}",
		"xds: {listen: '10.0.0.1:1', tls: {certFile: a, keyFile: b, clientCAFile: c}}",
		"admin: {listen: '10.0.0.1:1', tls: {certFile: a, keyFile: b}, token: 'file:/run/token'}",
		"envoy: {adminListen: '127.0.0.1:9901', logLevel: 'off'}",
	} {
		if _, err := config.Parse([]byte("dataDir: /d\n" + text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// All problems are told at once, in a stable order.
func TestValidateTellsEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := config.Parse([]byte("dataDir: /d\nlog: {level: a, format: b}\nenvoy: {logLevel: c}\ngateway: {denial: d}\n"))
	want := []string{
		`envoy.logLevel: "c" is not one of trace, debug, info, warning, error, critical, off`,
		`gateway.denial: "d" is not one of http, jsonrpc`,
		`log.format: "b" is not one of text, json`,
		`log.level: "a" is not one of debug, info, warn, error`,
	}
	if diff := cmp.Diff(want, problemsOf(err)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func problemsOf(err error) []string {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		if err == nil {
			return nil
		}
		return []string{err.Error()}
	}
	var list []string
	for _, e := range joined.Unwrap() {
		list = append(list, e.Error())
	}
	return list
}
