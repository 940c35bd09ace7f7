#!/usr/bin/env bash
# Starts a real Kafka broker for development on port 9092 and keeps its data between starts. DIR holds it.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
dir=${DIR:-$MILLRACE_CACHE/kafka/dev}

scripts/kafka/start.sh "$dir" 9092
echo "Kafka listens on $(cat "$dir/bootstrap"). To stop it: scripts/kafka/stop.sh $dir"
