#!/usr/bin/env bash
# The demo: server with the embedded log, Kafka for development, sample service, subscription and sample orders in one
# process. ONCE=1 in the environment: ends with 0 after checking what it showed. `make demo` makes the machine ready.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

cargo build -p millrace-demo
# Not through `cargo run`: Ctrl-C is for the demo alone, which drains before it ends.
exec "$CARGO_TARGET_DIR/debug/millrace-demo" "$@"
