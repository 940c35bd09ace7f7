#!/usr/bin/env bash
# Builds RocksDB, as the librocksdb-sys crate ships it, into $MILLRACE_CACHE/rocksdb/librocksdb.a.
#
# The crate's own build compiles each of some 350 files alone, with the same headers again and again: 11 minutes on two
# cores. Here up to 20 files of one folder are one translation unit, which takes a quarter of that, and the result
# outlives `cargo clean`. Nothing happens when the library of this crate version and these flags is there already.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

# Files per translation unit: larger saves header parsing, smaller saves memory (about 1 GiB each) and spreads better.
unit_files=20
out=$MILLRACE_CACHE/rocksdb

if ! command -v clang++ >/dev/null; then
  echo "rocksdb: no clang++ here, so cargo will compile RocksDB itself, which is slow (install clang to avoid it)"
  exit 0
fi

flags="-std=c++20 -O2 -w -fPIC -include cstdint -DNDEBUG -DLZ4"
flags="$flags -DROCKSDB_PLATFORM_POSIX -DROCKSDB_LIB_IO_POSIX -DHAVE_UINT128_EXTENSION -DHAVE_ALIGNED_NEW"
case $(uname -s) in
Linux)
  flags="$flags -DOS_LINUX -DROCKSDB_FALLOCATE_PRESENT -DROCKSDB_RANGESYNC_PRESENT"
  flags="$flags -DROCKSDB_SCHED_GETCPU_PRESENT -DROCKSDB_AUXV_GETAUXVAL_PRESENT"
  ;;
Darwin) flags="$flags -DOS_MACOSX" ;;
*)
  echo "rocksdb: unknown system $(uname -s), so cargo will compile RocksDB itself"
  exit 0
  ;;
esac
# CRC32C in hardware, which every 64-bit processor of the last ten years has.
case $(uname -sm) in
*x86_64) flags="$flags -msse4.2 -mpclmul" ;;
"Linux aarch64") flags="$flags -march=armv8-a+crc+crypto" ;;
esac

# The key comes from Cargo.lock, so that an upgrade of the crate rebuilds.
version=$(sed -n '/^name = "librocksdb-sys"$/{n;s/^version = "\(.*\)"$/\1/p;}' Cargo.lock)
[ -n "$version" ] || { echo "rocksdb: Cargo.lock names no librocksdb-sys" >&2; exit 1; }
key="$version unit=$unit_files $flags"
if [ -f "$out/librocksdb.a" ] && [ "$(cat "$out/key" 2>/dev/null)" = "$key" ]; then exit 0; fi

# The folder of a crate's source, downloaded by cargo when it is not there yet.
crate() {
  cargo metadata --format-version 1 | tr ',' '\n' |
    sed -n "s|^\"manifest_path\":\"\(.*/$1-[0-9][^/]*\)/Cargo.toml\"\$|\1|p" | head -n 1
}
src=$(crate librocksdb-sys)
lz4=$(crate lz4-sys)/liblz4/lib
[ -f "$src/rocksdb_lib_sources.txt" ] && [ -f "$lz4/lz4.h" ] ||
  { echo "rocksdb: the sources of librocksdb-sys or lz4-sys are not where cargo says ($src, $lz4)" >&2; exit 1; }

mkdir -p "$out"
work=$(mktemp -d "$out/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

awk -v dir="$work" -v src="$src" -v most="$unit_files" '
  $1 == "" || $1 == "util/build_version.cc" { next }
  {
    folder = $1; sub(/\/[^\/]*$/, "", folder); gsub(/\//, "_", folder)
    nth = count[folder]++
    unit = sprintf("%s/%s_%02d.cc", dir, folder, int(nth / most))
    printf "#include \"%s/rocksdb/%s\"\n", src, $1 > unit
  }' "$src/rocksdb_lib_sources.txt"
cp "$src/build_version.cc" "$work/"

units=$(cd "$work" && ls ./*.cc | wc -l | tr -d ' ')
cores=$(getconf _NPROCESSORS_ONLN)
echo "rocksdb: compiling $version in $units units on $cores cores"
export FLAGS="$flags -I$src/rocksdb -I$src/rocksdb/include -I$src -I$lz4" WORK=$work UNITS=$units
# Largest first, so that the last core to finish has a small one.
(cd "$work" && ls -S ./*.cc) | xargs -P "$cores" -I{} sh -c '
  cd "$WORK" && clang++ $FLAGS -c {} -o {}.o.tmp && mv {}.o.tmp {}.o &&
    echo "rocksdb: $(ls ./*.o | wc -l | tr -d " ")/$UNITS $(basename {} .cc)"'
ar crs "$work/librocksdb.a" "$work"/*.o

# Appears complete or not at all; the key last, so that it never promises a library that is not there.
rm -f "$out/key"
mv "$work/librocksdb.a" "$out/librocksdb.a"
printf '%s\n' "$key" >"$out/key"
echo "rocksdb: $out/librocksdb.a is ready"
