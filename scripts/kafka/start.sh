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
# KAFKA_SECURED=1             more listeners: SSL, SASL_PLAINTEXT and SASL_SSL, each with a free port in
#                             DIR/bootstrap.<PROTOCOL>; DIR/ca.pem is who signed the broker's certificate. User alice with
#                             password alice-secret logs in with PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512.
# KAFKA_NODE=ID               one of several that are started at the same time; each is broker and controller. Needs
# KAFKA_VOTERS                ID@127.0.0.1:PORT of all their controllers, separated by commas, and
# KAFKA_CLUSTER_ID            the same for all: 22 letters and digits.
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

# Lines for listeners with TLS and logins; `more` are their addresses.
secure() {
  local protocol port password=test-password
  for protocol in SSL SASL_PLAINTEXT SASL_SSL; do
    port=$(free_port)
    more+=$protocol://127.0.0.1:$port,
    printf '127.0.0.1:%s\n' "$port" >"$dir/bootstrap.$protocol"
  done
  rm -f "$dir/broker.p12" "$dir/ca.pem"
  keytool -genkeypair -alias broker -keyalg EC -dname CN=127.0.0.1 -ext san=ip:127.0.0.1 -validity 3650 \
    -keystore "$dir/broker.p12" -storetype PKCS12 -storepass "$password" 2>/dev/null
  keytool -exportcert -rfc -alias broker -keystore "$dir/broker.p12" -storepass "$password" >"$dir/ca.pem" 2>/dev/null
  local plain=org.apache.kafka.common.security.plain.PlainLoginModule
  local scram=org.apache.kafka.common.security.scram.ScramLoginModule
  security="listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
ssl.keystore.type=PKCS12
ssl.keystore.location=$dir/broker.p12
ssl.keystore.password=$password
ssl.key.password=$password
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
"
  local listener
  for listener in sasl_plaintext sasl_ssl; do
    security+="listener.name.$listener.plain.sasl.jaas.config=$plain required user_alice=\"alice-secret\";
listener.name.$listener.scram-sha-256.sasl.jaas.config=$scram required;
listener.name.$listener.scram-sha-512.sasl.jaas.config=$scram required;
"
  done
}

configure() {
  local port=$1 controller=$2 node=${KAFKA_NODE:-1} more= security=
  [ -z "${KAFKA_SECURED:-}" ] || secure
  cat >"$dir/server.properties" <<CONFIG
process.roles=broker,controller
node.id=$node
controller.quorum.voters=${KAFKA_VOTERS:-1@127.0.0.1:$controller}
listeners=${more}PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=${more}PLAINTEXT://127.0.0.1:$port
${security}controller.listener.names=CONTROLLER
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
    controller=$(printf '%s' "${KAFKA_VOTERS:-}" | tr , '\n' | sed -n "s/^${KAFKA_NODE:-1}@.*://p")
    configure "$port" "${controller:-$(free_port)}"
    uuid=${KAFKA_CLUSTER_ID:-$(head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | cut -c1-22)}
    users=()
    if [ -n "${KAFKA_SECURED:-}" ]; then
      for mechanism in SCRAM-SHA-256 SCRAM-SHA-512; do
        users+=(--add-scram "$mechanism=[name=alice,password=alice-secret]")
      done
    fi
    java $jvm -cp "$class_path" kafka.tools.StorageTool format -t "$uuid" -c "$dir/server.properties" \
      ${users[@]+"${users[@]}"} \
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
