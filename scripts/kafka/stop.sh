#!/usr/bin/env bash
# Stops the broker that start.sh started in DIR, by its pid, and waits until it is gone. Its data stays.
#
#   scripts/kafka/stop.sh DIR [TERM|KILL]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -ge 1 ] || die "usage: stop.sh DIR [TERM|KILL]"
[ -f "$1/pid" ] || exit 0
pid=$(cat "$1/pid")
rm -f "$1/bootstrap"
kill -s "${2:-TERM}" "$pid" 2>/dev/null || true
deadline=$((SECONDS + 20))
while alive "$pid"; do
  if [ $SECONDS -ge $deadline ]; then kill -s KILL "$pid" 2>/dev/null || true; fi
  sleep 0.05
done
rm -f "$1/pid"
