# Build environment shared by the Makefile, CI and people: `. scripts/env.sh`.
# Everything built or downloaded that outlives a checkout is kept in MILLRACE_CACHE.
MILLRACE_CACHE=${MILLRACE_CACHE:-$HOME/.cache/millrace}
export MILLRACE_CACHE
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$MILLRACE_CACHE/target}
# RocksDB prebuilt by scripts/build-rocksdb.sh; without it the crate compiles its own, which takes about 11 minutes.
if [ -f "$MILLRACE_CACHE/rocksdb/librocksdb.a" ]; then
  export ROCKSDB_LIB_DIR=$MILLRACE_CACHE/rocksdb ROCKSDB_STATIC=1
fi
# Homebrew keeps these out of the path, as macOS has programs of those names.
if [ -d /opt/homebrew/opt ]; then
  for keg in openjdk@17 openssl@3; do
    if [ -d "/opt/homebrew/opt/$keg/bin" ]; then PATH=/opt/homebrew/opt/$keg/bin:$PATH; fi
  done
  export PATH
fi
