# Shared by start.sh, stop.sh and restart.sh.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
MILLRACE_CACHE=${MILLRACE_CACHE:-$HOME/.cache/millrace}

die() {
  printf 'kafka: %s\n' "$*" >&2
  exit 1
}

# Prints the class path of the broker. The jars are resolved once per content of pom.xml, then taken from the cache.
class_path() {
  local sum libs work
  sum=$(cksum <"$here/pom.xml" | tr ' ' '-')
  libs=$MILLRACE_CACHE/kafka/libs-$sum
  if [ ! -d "$libs" ]; then
    command -v mvn >/dev/null || die "Maven is missing: apt-get install -y maven   (macOS: brew install maven)"
    mkdir -p "$MILLRACE_CACHE/kafka"
    work=$(mktemp -d "$MILLRACE_CACHE/kafka/libs.XXXXXX")
    if ! mvn -B -q -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
      -DoutputDirectory="$work" >"$work.log" 2>&1; then
      rm -rf "$work"
      die "Maven could not resolve the broker, see $work.log"
    fi
    rm -f "$work.log"
    chmod 755 "$work"
    # Whoever is first wins; the folder appears complete or not at all.
    if [ -d "$libs" ] || ! mv "$work" "$libs" 2>/dev/null; then rm -rf "$work"; fi
  fi
  printf '%s/*' "$libs"
}

need_java() {
  local version
  command -v java >/dev/null ||
    die "Java 17 or newer is missing: apt-get install -y openjdk-17-jre-headless   (macOS: brew install openjdk@17)"
  version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
  [ "${version:-0}" -ge 17 ] ||
    die "Java $version is too old for Kafka 4: apt-get install -y openjdk-17-jre-headless   (macOS: brew install openjdk@17)"
}

alive() { kill -0 "$1" 2>/dev/null; }

# A port nobody listens on. Below the ephemeral range, so that no outgoing connection takes it in between.
free_port() {
  local port
  while :; do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  printf '%s' "$port"
}

# True when the broker on port $1 answers a Metadata request (v1, all topics) with a broker and a controller:
# it is registered, unfenced, and serves clients. Bytes: length, api key 3, version 1, correlation 0, no client id, null.
answers() {
  local reply brokers controller host limit=
  command -v timeout >/dev/null && limit="timeout 2"
  exec 9<>"/dev/tcp/127.0.0.1/$1" || return 1
  printf '\0\0\0\016\0\003\0\001\0\0\0\0\377\377\377\377\377\377' >&9
  # length 4, correlation 4, broker count 4, then node 4, host 2 + n, port 4, rack (null) 2, controller 4
  reply=$($limit head -c 40 <&9 | od -An -v -tx1 | tr -d ' \n')
  exec 9<&-
  brokers=${reply:16:8}
  [ -n "$brokers" ] && [ "$brokers" != 00000000 ] || return 1
  host=$((16#${reply:32:4}))
  controller=${reply:$(((12 + 4 + 2 + host + 4 + 2) * 2)):8}
  [ -n "$controller" ] && [ "$controller" != ffffffff ]
} 2>/dev/null
