#!/usr/bin/env bash
# Starts a real Kafka broker for development on port 9092 and keeps its data between starts. DIR holds it.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
dir=${DIR:-$MILLRACE_CACHE/kafka/dev}

# People expect a topic to be there when they write to it; 8 is what Millrace has partitions by default.
export KAFKA_SETTINGS=$'auto.create.topics.enable=true\nnum.partitions=8'
scripts/kafka/start.sh "$dir" 9092
echo "Kafka listens on $(cat "$dir/bootstrap"). To stop it: scripts/kafka/stop.sh $dir"
