# `make help` lists what there is. Works with the GNU make 3.81 of macOS: one command line per recipe.
SHELL := bash

SEEDS ?= 300
# Tools, then RocksDB, then the environment, which points cargo at that RocksDB.
READY := set -eu; scripts/setup.sh build; scripts/build-rocksdb.sh; . scripts/env.sh

.PHONY: help demo run test test-all sim bench kafka build setup sdk-deps fmt lint deny

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

demo: ## build and start all in one process: server, Kafka, sample service, subscription; ONCE=1 checks it and ends
	@$(READY); exec scripts/demo.sh

run: ## build and run the server; ARGS="--config-file millrace.toml"
	@$(READY); exec cargo run --bin millrace -- serve $(ARGS)

test: ## format, lints, unit to end-to-end tests, docs, simulation, licences: what CI runs
	@scripts/test.sh

test-all: ## the same with the full numbers of records, kills and seeds
	@MILLRACE_TESTS=all scripts/test.sh

sim: ## simulate SEEDS=n fresh seeds, or one: SEED=n
	@$(READY); exec cargo run -p millrace-sim --bin sim -- $(if $(SEED),--seed $(SEED) --trace,--first $$(date +%s)000 --seeds $(SEEDS))

bench: ## build with optimisations and run the benchmark whose folder BENCH names
	@$(READY); exec scripts/bench.sh $(ARGS)

kafka: ## start a real Kafka broker for development on port 9092
	@set -eu; scripts/setup.sh test; exec scripts/dev-kafka.sh

build: ## build everything
	@$(READY); exec cargo build --workspace --bins

setup: ## install all build and test dependencies (apt or brew, npm, PyPI) and build RocksDB
	@set -eu; scripts/setup.sh test; scripts/build-rocksdb.sh; scripts/sdk-deps.sh

sdk-deps: ## install what the SDK test services need (MILLRACE_TESTS=all: Java and Go too)
	@scripts/sdk-deps.sh

fmt: ## format the code
	@cargo fmt --all

lint: ## clippy, warnings are errors
	@$(READY); exec cargo clippy --workspace --all-targets -- -D warnings

deny: ## licences, bans and sources of the dependencies
	@scripts/deny.sh
