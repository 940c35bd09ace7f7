# syntax=docker/dockerfile:1
# The server as an image: `docker build -t millrace .`
# Data lives in /data (mount a volume); ports: 8080 ingress, 9070 admin, 5122 node with /metrics.

FROM rust:1-slim-bookworm AS build
WORKDIR /src
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential clang libclang-dev pkg-config libssl-dev zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
COPY . .
# The caches keep RocksDB, crates and compiled dependencies between builds of the image.
ENV MILLRACE_CACHE=/cache
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN --mount=type=cache,target=/cache --mount=type=cache,target=/usr/local/cargo/registry \
    scripts/build-rocksdb.sh \
    && . scripts/env.sh \
    && cargo build --release --locked --bin millrace \
    && install -s -D "$CARGO_TARGET_DIR/release/millrace" /out/millrace

FROM debian:bookworm-slim
# What librdkafka links, and the certificates to check brokers and deployments with.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data millrace \
    && install -d -o millrace -g millrace /data
COPY --from=build /out/millrace /usr/local/bin/millrace
USER millrace
WORKDIR /data
# Every setting has an environment variable: `__` for nesting, upper case, `_` for `-`.
ENV MILLRACE_BASE_DIR=/data \
    MILLRACE_INGRESS__BIND_ADDRESS=0.0.0.0:8080 \
    MILLRACE_ADMIN__BIND_ADDRESS=0.0.0.0:9070 \
    MILLRACE_BIND_ADDRESS=0.0.0.0:5122
VOLUME /data
EXPOSE 8080 9070 5122
# SIGTERM drains; give it time with `docker stop --time`.
STOPSIGNAL SIGTERM
ENTRYPOINT ["millrace"]
CMD ["serve"]
