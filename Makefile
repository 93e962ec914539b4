# What people type. Every target says what it needs before it starts; scripts/ holds the how.
# `make` alone lists the targets.

CARGO ?= cargo
NPM ?= npm
# `make run PROFILE=dev` builds faster and serves slower.
PROFILE ?= release
ARGS ?=
SHELL := /bin/bash

.DEFAULT_GOAL := help
.PHONY: help run lan web test check bench clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Build and start the server, then open http://localhost:8080 (more flags: ARGS="--open")
	@scripts/needs.sh run
	@$(MAKE) --no-print-directory web
	$(CARGO) run --profile $(PROFILE) -- serve $(ARGS)

lan: ## The same with TLS for phones and other computers of this network
	@scripts/needs.sh run
	@$(MAKE) --no-print-directory web
	$(CARGO) run --profile $(PROFILE) -- serve --lan $(ARGS)

web: ## Build the pages into web/dist (nothing to do if they are new enough)
	@scripts/web.sh build

test: ## Everything: check, Rust, web, interop and browser tests
	@scripts/needs.sh test
	@scripts/test.sh

check: ## Formatting, clippy, TypeScript, web lint
	@scripts/needs.sh check
	@scripts/check.sh

bench: ## CPU per packet, memory, latency, and what files cost (release build, takes two minutes more)
	@scripts/needs.sh run
	@$(MAKE) --no-print-directory web
	$(CARGO) build --release
	target/release/reelay bench fanout --viewers 100
	target/release/reelay bench record --publishers 60
	target/release/reelay bench files
	target/release/reelay bench library

clean: ## Remove everything that was built; recordings stay
	$(CARGO) clean
	rm -rf web/dist web/node_modules tests/browser/node_modules tests/interop/.venv artifacts
