#!/usr/bin/env bash
# The demo: server with the embedded log, Kafka for development, sample service, subscription and sample orders in one
# process. ONCE=1 in the environment: ends with 0 after checking what it showed. `make demo` builds first.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

exec cargo run --quiet --bin millrace -- demo "$@"
