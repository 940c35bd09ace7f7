#!/usr/bin/env bash
# Installs what building (`setup.sh build`) and testing (`setup.sh test`, the default) need from the system's packages;
# with MILLRACE_TESTS=all also what `make test-all` needs beyond that. Go comes with scripts/sdk-deps.sh.
#
# Looks first and is quick when all is there. Debian and Ubuntu: apt, as root or through sudo; macOS: brew. Where it may
# not install, it prints the command that would and stops. A Rust toolchain is the one thing it expects.
set -euo pipefail
cd "$(dirname "$0")/.."
goal=${1:-test}

if ! command -v cargo >/dev/null; then
  echo "setup: Rust is missing. Install it with rustup (rustup.rs), then run this again." >&2
  exit 1
fi

missing=
need() { missing="$missing $1"; }
has() { command -v "$1" >/dev/null 2>&1; }

# 17 is what Kafka 4 runs on. macOS has a `java` that only says where to get one.
java_is_new() {
  local major
  major=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
  [ "${major:-0}" -ge 17 ]
}

# For the Java services of `make test-all`; a JRE has no compiler.
javac_is_new() {
  local major
  major=$(javac -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p')
  [ "${major:-0}" -ge 17 ]
}

# bindgen loads libclang; having clang does not mean having that.
has_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] && return
  local library
  for library in /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so* /usr/lib64/libclang*.so*; do
    [ -e "$library" ] && return
  done
  return 1
}

check_linux() {
  has c++ && has make || need build-essential
  has clang++ || need clang
  has_libclang || need libclang-dev
  has pkg-config || need pkg-config
  # Headers of librdkafka's TLS and compression.
  pkg-config --exists openssl 2>/dev/null || need libssl-dev
  pkg-config --exists zlib 2>/dev/null || need zlib1g-dev
  has git || need git
  [ "$goal" = test ] || return 0
  java_is_new || need JRE
  [ "${MILLRACE_TESTS:-}" != all ] || javac_is_new || need JDK
  has mvn || need maven
  has npm || need "nodejs npm"
  has curl || need curl
  # Debian ships the module without the part that makes environments.
  python3 -c 'import venv, ensurepip' 2>/dev/null || need "python3 python3-venv"
}

# Releases differ in which they have: the oldest that is new enough. Known only once apt has its lists.
java_package() {
  local kind=$1 version
  for version in 17 21 25; do
    if [ -n "$(apt-cache policy "openjdk-$version-$kind-headless" 2>/dev/null | grep 'Candidate: [0-9]')" ]; then
      echo "openjdk-$version-$kind-headless"
      return
    fi
  done
  echo "default-$kind-headless"
}

name_java() {
  missing=${missing/ JRE/ $(java_package jre)}
  missing=${missing/ JDK/ $(java_package jdk)}
}

check_macos() {
  xcode-select -p >/dev/null 2>&1 || { echo "setup: run 'xcode-select --install' first" >&2; exit 1; }
  has pkg-config || need pkg-config
  [ -d "$(brew --prefix openssl@3 2>/dev/null)/include" ] || need openssl@3
  [ "$goal" = test ] || return 0
  java_is_new || need openjdk@17
  has mvn || need maven
  has npm || need node
  has python3 || need python
}

install_apt() {
  local update="apt-get update" install="apt-get install -y --no-install-recommends"
  local sudo=
  if [ "$(id -u)" != 0 ]; then
    # Without a terminal sudo may not ask for a password.
    if has sudo && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then sudo=sudo; else
      name_java
      printf 'setup: these packages are missing and this user may not install them. Run:\n\n  sudo %s && sudo %s\n\n' \
        "$update" "$install$missing" >&2
      exit 1
    fi
  fi
  $sudo $update -q </dev/null
  name_java
  echo "setup: installing$missing"
  # shellcheck disable=SC2086
  $sudo env DEBIAN_FRONTEND=noninteractive $install -q $missing </dev/null
}

case $(uname -s) in
Linux)
  check_linux
  if [ -n "$missing" ]; then
    if has apt-get; then
      install_apt
    else
      printf 'setup: no apt-get here. Install what these Debian packages hold, then run this again:\n\n %s\n\n' "$missing" >&2
      exit 1
    fi
  fi
  ;;
Darwin)
  if ! has brew; then
    echo "setup: Homebrew is missing (brew.sh); it installs what the build needs" >&2
    exit 1
  fi
  check_macos
  if [ -n "$missing" ]; then
    echo "setup: brew install$missing"
    # shellcheck disable=SC2086
    brew install $missing
  fi
  ;;
*)
  echo "setup: $(uname -s) is not supported; Linux and macOS are" >&2
  exit 1
  ;;
esac

# Minimal Rust toolchains lack these.
for component in rustfmt clippy; do
  case $component in rustfmt) probe="cargo fmt" ;; *) probe="cargo clippy" ;; esac
  $probe --version >/dev/null 2>&1 || rustup component add $component
done
