#!/usr/bin/env bash
# Stops the broker of DIR and starts it again on the same port with the same data.
#
#   scripts/kafka/restart.sh DIR [TERM|KILL]
set -euo pipefail
scripts=$(dirname "${BASH_SOURCE[0]}")
"$scripts/stop.sh" "$@"
"$scripts/start.sh" "$1"
