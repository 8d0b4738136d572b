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
    cargo build --locked --release --target wasm32-wasip2 \
      -p plugin-triage -p plugin-log -p plugin-slack -p plugin-webhook -p plugin-email -p plugin-http-status \
      -p plugin-alertmanager -p plugin-prometheus -p plugin-grafana -p plugin-cloudwatch-sns -p plugin-datadog \
      -p plugin-pagerduty-events -p plugin-sentry -p plugin-azure-monitor \
 && cargo build --locked --profile dist -p campanile \
 && install -D target/dist/campanile /out/bin/campanile \
 && for name in triage log slack webhook email http_status alertmanager prometheus grafana cloudwatch_sns datadog \
      pagerduty_events sentry azure_monitor; do \
      install -D -m 0644 "target/wasm32-wasip2/release/$name.wasm" \
        "/out/share/campanile/plugins/$(echo "$name" | tr _ -).wasm"; \
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
