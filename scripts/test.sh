#!/usr/bin/env bash
# `make test`: everything a change must pass, in the order in which it is cheapest to fail. One build profile for all.
# MILLRACE_TESTS=all (`make test-all`) runs the end-to-end tests and the simulation with their full numbers.
set -euo pipefail
cd "$(dirname "$0")/.."
started=$SECONDS
summary=

# Runs one step, says how long it took, and ends with the first that fails.
step() {
  local name=$1 from=$SECONDS
  shift
  printf '\n==> %s: %s\n' "$name" "$*"
  "$@" || {
    local code=$?
    printf '\n==> %s FAILED with %s after %s s: %s\n' "$name" "$code" "$((SECONDS - from))" "$*" >&2
    exit "$code"
  }
  printf '==> %s took %s s\n' "$name" "$((SECONDS - from))"
  summary+=$(printf '%7s s  %s' "$((SECONDS - from))" "$name")$'\n'
}

docs() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet; }

# Kafka's jars, so that the first test that wants a broker does not wait for a download. Tests that find none say so.
kafka_jars() (
  . scripts/kafka/lib.sh
  need_java
  class_path >/dev/null
)

step setup scripts/setup.sh test
step format cargo fmt --all --check
step rocksdb scripts/build-rocksdb.sh
. scripts/env.sh
step sdk-deps scripts/sdk-deps.sh
step kafka-jars kafka_jars
step clippy cargo clippy --workspace --all-targets --quiet -- -D warnings
# With the binaries that end-to-end tests start: `cargo test` builds none of another package. The same targets in both
# steps, so that cargo chooses the same features and compiles nothing twice.
step build cargo build --workspace --lib --bins --tests
step test cargo test --workspace --lib --bins --tests
step doctests cargo test --workspace --doc --quiet
step docs docs
case ${MILLRACE_TESTS:-} in all) seeds=${SEEDS:-20000} ;; *) seeds=${SEEDS:-300} ;; esac
# Its own tests run the first 300 seeds.
step simulation "$CARGO_TARGET_DIR/debug/sim" --first 301 --seeds "$seeds"
step deny scripts/deny.sh

printf '\n%sall passed in %s s\n' "$summary" "$((SECONDS - started))"
