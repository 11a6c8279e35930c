# make demo   a sharded cluster on this machine, from nothing          make test   all tests, installing what they need
# make lint / bench / report / fuzz / test-all / soak: see below
SHELL := /bin/bash
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
DEMO_DIR ?= $(TARGET)/demo
DEMO_LISTEN ?= 127.0.0.1:3307
DEMO_ADMIN ?= 127.0.0.1:3380
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 1800
SOAK_SEED ?= 1
SOAK_REPORT ?= $(abspath $(TARGET))/soak
SOAK_QUERIES ?= 200000
# One profile for the program and its tests: nothing is compiled twice. Optimised, quick to build.
PROFILE := fast
export COREGATE_BIN ?= $(abspath $(TARGET)/$(PROFILE)/coregate)

.PHONY: demo test test-all lint bench report fuzz soak soak-statements release help
.DEFAULT_GOAL := help

help:
	@sed -n '1,2s/^# *//p' Makefile

release:
	cargo build --release

# Stays until Ctrl-C, which `coregate` hears itself: it ends the servers in order.
demo:
	@tests/install.sh server
	@cargo build --release
	@tests/demo.sh "$(TARGET)/release/coregate" "$(DEMO_DIR)" "$(DEMO_LISTEN)" "$(DEMO_ADMIN)"

test:
	tests/install.sh packages
	tests/install.sh clients
	cargo build --profile $(PROFILE)
	cargo test --profile $(PROFILE) --workspace --no-fail-fast

# What is too slow for every change: the tests marked so, and fuzzing for a minute each.
test-all: test fuzz
	tests/install.sh suite
	cargo test --profile $(PROFILE) --workspace --no-fail-fast -- --ignored
	COREGATE_KERNEL=5.15 cargo test --profile $(PROFILE) -p coregate-tests --no-fail-fast

# Random statements against one server, of new seeds: SOAK_QUERIES of them over four shards, as many for each table over two.
soak-statements:
	cargo build --profile $(PROFILE)
	ACROSS_QUERIES=$(SOAK_QUERIES) RANDOM_STATEMENTS=$(SOAK_QUERIES) cargo test --profile $(PROFILE) -p coregate-tests --no-fail-fast \
	    --test across --test random -- --ignored many_random_queries shards_answer_as_one_server_to_new_statements

# The profile of the tests, so that build scripts (C libraries) run once for both.
lint:
	cargo fmt --all -- --check
	cargo clippy --profile $(PROFILE) --workspace --all-targets -- -D warnings

bench: release
	$(TARGET)/release/coregate bench compare $(BENCH_ARGS)

# Compares as docs/report/run.toml says, and writes the report beside it.
report: release
	$(TARGET)/release/coregate bench compare --config docs/report/run.toml --out docs/report $(BENCH_ARGS)

# Random faults under continuous writes, SOAK_SECONDS long, and 20 planned moves and 20 deaths of primaries; a page of each in SOAK_REPORT.
soak:
	tests/install.sh packages
	cargo build --profile $(PROFILE)
	COREGATE_SOAK_SECONDS=$(SOAK_SECONDS) COREGATE_SOAK_SEED=$(SOAK_SEED) COREGATE_SOAK_REPORT=$(SOAK_REPORT) \
	  cargo test --profile $(PROFILE) -p coregate-tests --test soak -- --include-ignored --nocapture --test-threads=1

fuzz:
	FUZZ_SECONDS=$(FUZZ_SECONDS) cargo test --profile $(PROFILE) -p coregate-protocol -p coregate-planner --test fuzz
	PROPTEST_CASES=20000 cargo test --profile $(PROFILE) -p coregate-planner --test robust --test model
