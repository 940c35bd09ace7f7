#!/usr/bin/env bash
# Starts one real Apache Kafka (broker and controller in one JVM, KRaft) for tests.
#
#   scripts/kafka/start.sh DIR [PORT]
#
# DIR gets: data/, server.properties, server.log, pid, and bootstrap (one line, host:port), written when the broker
# is ready. A DIR that has data is started again on its old port with its old data. Without PORT a free one is taken.
# KAFKA_BOOTSTRAP=host:port   use that broker: DIR gets only bootstrap, nothing is started.
# KAFKA_OWNER=PID             stops the broker within a second of that process's end, however it ends.
# KAFKA_JVM_OPTS              replaces the JVM options.
# KAFKA_SETTINGS              more lines of server.properties; a later one wins.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -ge 1 ] || die "usage: start.sh DIR [PORT]"
mkdir -p "$1"
dir=$(cd "$1" && pwd)
rm -f "$dir/bootstrap"

if [ -n "${KAFKA_BOOTSTRAP:-}" ]; then
  printf '%s\n' "$KAFKA_BOOTSTRAP" >"$dir/bootstrap"
  exit 0
fi
if [ -f "$dir/pid" ] && alive "$(cat "$dir/pid")"; then die "a broker is running in $dir (pid $(cat "$dir/pid"))"; fi

need_java
class_path=$(class_path)
# Small and quick to start: the tests want a broker within seconds, not one at its best after minutes.
jvm=${KAFKA_JVM_OPTS:--Xms128m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto -XX:-UsePerfData}

configure() {
  local port=$1 controller=$2
  cat >"$dir/server.properties" <<CONFIG
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
log.dirs=$dir/data
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
num.network.threads=2
num.io.threads=2
background.threads=2
log.cleaner.dedupe.buffer.size=4194304
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=4000
${KAFKA_SETTINGS:-}
CONFIG
}

# The broker's pid, once it answers; fails when the process ends before.
launch() {
  local port=$1
  # shellcheck disable=SC2086
  nohup java $jvm -cp "$here/:$class_path" -Dlog4j2.configurationFile="$here/log4j2.properties" \
    -Dmillrace.kafka.log="$dir/server.log" kafka.Kafka "$dir/server.properties" \
    >"$dir/stdout.log" 2>&1 </dev/null 9<&- &
  pid=$!
  printf '%s\n' "$pid" >"$dir/pid"
  local deadline=$((SECONDS + 60))
  until answers "$port"; do
    alive "$pid" || return 1
    if [ $SECONDS -ge $deadline ]; then
      kill "$pid" 2>/dev/null || true
      die "the broker was not ready within 60 s, see $dir/server.log"
    fi
    sleep 0.05
  done
  # Somebody else's broker could have answered on a port that ours failed to bind.
  alive "$pid"
}

if [ -d "$dir/data" ]; then
  port=$(sed -n 's/^advertised.listeners=.*:\([0-9]*\)$/\1/p' "$dir/server.properties")
  launch "$port" || die "the broker did not start again, see $dir/server.log and $dir/stdout.log"
else
  for attempt in 1 2 3; do
    port=${2:-$(free_port)}
    configure "$port" "$(free_port)"
    uuid=$(head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | cut -c1-22)
    java $jvm -cp "$class_path" kafka.tools.StorageTool format -t "$uuid" -c "$dir/server.properties" \
      >"$dir/format.log" 2>&1 || die "formatting the storage failed, see $dir/format.log"
    launch "$port" && break
    [ "$attempt" -lt 3 ] && grep -q -i 'address already in use\|failed to bind' "$dir/server.log" "$dir/stdout.log" ||
      die "the broker did not start, see $dir/server.log and $dir/stdout.log"
    rm -rf "$dir/data" "$dir/server.log"
  done
fi
if [ -n "${KAFKA_OWNER:-}" ]; then
  (
    while alive "$KAFKA_OWNER" && alive "$pid"; do sleep 1; done
    kill "$pid" 2>/dev/null
  ) >/dev/null 2>&1 </dev/null 9<&- &
fi
printf '127.0.0.1:%s\n' "$port" >"$dir/bootstrap"
