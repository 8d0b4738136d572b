# syntax=docker/dockerfile:1
# The host and the plugins we ship. The image has no Temporal server: give it `--temporal-address`.

ARG RUST_VERSION=1.95
ARG DEBIAN_VERSION=bookworm

FROM rust:${RUST_VERSION}-slim-${DEBIAN_VERSION} AS builder
# A C compiler and its headers, for ring and zstd.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends build-essential \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
# The toolchain and the wasm targets that rust-toolchain.toml names, in a layer of their own.
COPY rust-toolchain.toml ./
RUN rustup toolchain install
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --locked --release --target wasm32-wasip2 --workspace \
      --exclude campanile --exclude tests --exclude xtask \
 && cargo build --locked --profile dist -p campanile \
 && install -D target/dist/campanile /out/bin/campanile \
 && for file in target/wasm32-wasip2/release/*.wasm; do \
      install -D -m 0644 "$file" "/out/share/campanile/plugins/$(basename "$file" | tr _ -)"; \
    done \
 && find plugins -mindepth 2 -maxdepth 2 -name '*.toml' ! -name Cargo.toml \
      -exec install -m 0644 {} /out/share/campanile/plugins/ \;

FROM debian:${DEBIAN_VERSION}-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 campanile \
 && useradd --uid 10001 --gid 10001 --home-dir /var/lib/campanile --create-home --shell /usr/sbin/nologin campanile \
 && install --directory --owner 10001 --group 10001 /keys
COPY --from=builder /out/ /usr/local/
ENV CAMPANILE_LISTEN=0.0.0.0:8000 \
    CAMPANILE_DATA_DIR=/var/lib/campanile \
    CAMPANILE_PLUGINS=/plugins.d \
    CAMPANILE_LOG_FORMAT=json
WORKDIR /var/lib/campanile
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["campanile", "healthcheck", "--url", "http://127.0.0.1:8000"]
ENTRYPOINT ["campanile"]
CMD ["serve"]
