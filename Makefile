# The one command list; people and CI share it.

# Tests in the lab are real traffic with real time limits: as many at once as there are cores,
# and not so many that MariaDB servers compete for memory.
export RUST_TEST_THREADS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 4 ? n : 4)))

# Whoever is not root gets each test program run in namespaces of its own (see the script).
ifneq ($(shell id -u),0)
RUNNER := --config 'target."cfg(target_os = \"linux\")".runner = ["$(CURDIR)/kind-e2e/src/in-namespaces.sh"]'
endif

.DEFAULT_GOAL := help
.PHONY: help demo test prepare lab figures bench bench-quick bench-scale conformance image kind-e2e tools fmt lint docs book reference audit clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Build vipgate and show it at work: a VIP, ARP for it, traffic through it
	@scripts/install-test-tools.sh demo
	@echo 'Building vipgate; the first build takes a minute or two, with the crates to be fetched.'
	@cargo build --locked --package vipgate-cli
	@cargo run --locked --quiet --package vipgate-cli -- demo

test: tools prepare ## All there is to pass: tools, formatting, clippy, docs, tests (those on a real Kubernetes API as well)
	cargo fmt --all --check
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory docs
	cargo test --locked --workspace --no-fail-fast $(RUNNER)

prepare: tools ## Build what tests need of Kubernetes, with Go, once: up to 40 minutes the first time, 7 GB of disk
	@cargo run --locked --quiet --package vipgate-lab --example prepare

lab: tools prepare ## The long sets: those that `make test` leaves out because of their time
	cargo test --locked --workspace --no-fail-fast $(RUNNER) -- --ignored long_ --skip figures::
	$(MAKE) --no-print-directory figures

figures: tools prepare ## A flood, how long fail-over takes, beside keepalived and with routers, and ten thousand routes in a cluster; with a release build: an hour and a half
	cargo test --locked --release --no-fail-fast --package vipgate-speaker --package vipgate-cli \
		--test proxy_suite --test scenarios --test cluster $(RUNNER) -- --ignored --nocapture --test-threads=1 figures

bench: ## Side by side with Envoy, HAProxy and nginx, 15 rounds within half an hour; the report goes to docs/performance
	@scripts/install-test-tools.sh bench
	cargo build --locked --release --package vipgate-cli --package vipgate-bench
	target/release/vipgate-bench run --seconds 0.5 --write docs/performance

bench-quick: ## The same within a minute (after the build): Envoy and HAProxy, ratios of one round
	@scripts/install-test-tools.sh bench
	@cargo build --locked --release --package vipgate-cli --package vipgate-bench
	@target/release/vipgate-bench run --rounds 1 --seconds 1 --peers vipgate,envoy,haproxy,haproxy-splice \
		--workloads bulk8,through8,iperf8,connections,pings64,handshakes,encrypt8,datagrams64,idle

bench-scale: ## Very many routes: the planner, one process with 10,000 listeners, endpoints that come and go; five minutes
	@scripts/install-test-tools.sh demo
	cargo build --locked --release --package vipgate-cli --package vipgate-bench
	cargo test --locked --release --workspace --test scale --test churn -- --ignored --nocapture --test-threads=1
	target/release/vipgate-bench scale

conformance: tools prepare ## The official Gateway API conformance tests, profiles GATEWAY-TCP, -TLS and -UDP; the report goes to docs/conformance
	@mkdir -p docs/conformance
	VIPGATE_CONFORMANCE_REPORTS=$(CURDIR)/docs/conformance \
	cargo test --locked --package vipgate-cli --test conformance $(RUNNER) -- --ignored --nocapture

image: ## Build the container image with buildah, run it as the chart does; with cargo-cyclonedx, write its SBOM: docs/image.md
	@scripts/install-test-tools.sh image
	@scripts/image.sh

kind-e2e: ## The scenarios on a kind cluster, where there is docker or podman: ARGS='l2 --family dual --proxy nftables'
	@kind-e2e/run.sh $(ARGS)

tools: ## Install the tools tests use, where they are missing (Debian, Ubuntu)
	@scripts/install-test-tools.sh

fmt: ## Format the code
	cargo fmt --all

lint: ## Clippy on everything, warnings denied
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings

docs: ## Build the API documentation, warnings denied
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps

book: ## Build the documentation as a book, with mdBook (built once), into target/book, and look after its links
	@scripts/book.sh

reference: ## Write anew what docs/ and the chart have from the code: commands, metrics, values, events, reasons, custom resources
	BLESS=1 cargo test --locked --workspace --bins --test docs -- crds reference:: catalogue page:: schema values::the_page events::the_page
	BLESS=1 cargo test --locked --workspace --test crds --test reasons

audit: ## Check dependencies: licenses, sources, bans, and advisories where reachable
	@scripts/audit.sh

clean: ## Remove what was built
	cargo clean
