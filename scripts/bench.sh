#!/usr/bin/env bash
# Builds an optimised server and measures it with the benchmark in the folder that BENCH names. Arguments go to run.py.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

cargo build --release --bin millrace
export MILLRACE_BIN=$CARGO_TARGET_DIR/release/millrace
if [ -z "${BENCH:-}" ]; then
  echo "built $MILLRACE_BIN; BENCH=folder (the one with run.py) measures it"
  exit 0
fi
# The benchmark's programs keep a target folder of their own, where run.py looks for them.
for part in handlers load; do
  env -u CARGO_TARGET_DIR cargo build --release --manifest-path "$BENCH/$part/Cargo.toml"
done
cd "$BENCH"
exec ./run.py --broker-cmd mock --server millrace=adapters/millrace.sh "$@"
