# syntax=docker/dockerfile:1
# The program on a base without a shell. Each platform is built on a machine of its own kind: nothing is cross-compiled.
#
#   docker build --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" --tag sluice .
#
# The compiler's version is that of rust-toolchain.toml. Both bases are Debian 12, so that the C library is the same one.
# A release pins them by digest: RUST_IMAGE and RUNTIME_IMAGE are set by .github/workflows/release.yaml.
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST_IMAGE} AS build
ARG SOURCE_DATE_EPOCH=0
# RUSTUP_TOOLCHAIN keeps rustup from fetching formatter and linter. The paths of this machine stay out of the program.
ENV RUSTUP_TOOLCHAIN=1.95.0 \
    CARGO_INCREMENTAL=0 \
    CARGO_TERM_COLOR=never \
    RUSTFLAGS="--remap-path-prefix=/src=. --remap-path-prefix=/usr/local/cargo=cargo"
WORKDIR /src
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
COPY controller controller
COPY crds crds
COPY tests tests
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package sluice \
    && install -D --mode=0755 --strip target/release/sluice /out/usr/local/bin/sluice
# Where data is kept when nothing is mounted there.
RUN install -d --mode=0750 /out/data

FROM ${RUNTIME_IMAGE}
ARG VERSION=0.0.0
LABEL org.opencontainers.image.title="Sluice" \
      org.opencontainers.image.description="Over-the-air updates for hybrid mobile apps, from Git" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/sluice-dev/sluice" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /out/usr/local/bin/sluice /usr/local/bin/sluice
COPY --from=build --chown=65532:65532 /out/data /data
# A first apply of ten thousand objects leaves holes: with these most of them are given back. The first is for jemalloc, which
# the program has on x86_64; the others are for the C library's allocator.
ENV MALLOC_CONF=narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0,background_thread:true \
    MALLOC_ARENA_MAX=2 MALLOC_TRIM_THRESHOLD_=131072 MALLOC_MMAP_THRESHOLD_=131072
USER 65532:65532
EXPOSE 8080 8081 8082
ENTRYPOINT ["/usr/local/bin/sluice"]
