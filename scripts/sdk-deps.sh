#!/usr/bin/env bash
# Installs the npm and PyPI packages of the SDK test services, pinned by their lock files. Does nothing when they are there.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
services=tests/sdk/services

# npm: `npm ci` writes node_modules/.package-lock.json, so a newer lock file means that something changed.
ts=$services/typescript
if [ ! -f $ts/node_modules/.package-lock.json ] || [ $ts/package-lock.json -nt $ts/node_modules/.package-lock.json ]; then
  echo "installing the npm packages of the TypeScript services"
  (cd $ts && npm ci --no-progress --loglevel=error)
  touch $ts/node_modules/.package-lock.json
fi

# PyPI: the venv remembers the requirements it was made from.
venv=$MILLRACE_CACHE/sdk-python
if ! cmp -s $services/python/requirements.txt "$venv/requirements.txt" || ! "$venv/bin/python" -c 'import restate' 2>/dev/null; then
  echo "installing the PyPI packages of the Python services"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement $services/python/requirements.txt
  cp $services/python/requirements.txt "$venv/requirements.txt"
fi
