# One binary on a small base, which has the libc it was built with. The build needs the network for crates only.
FROM rust:1.95.0-bookworm AS build
# The image's own toolchain. Without this, rust-toolchain.toml would fetch components that no build needs.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
# As `cargo xtask release` builds it: along a profile of the main job.
RUN RUSTFLAGS=-Cprofile-use=/src/deploy/rust-1.95.0.profdata cargo build --release --locked

FROM debian:bookworm-slim
# Roots for TLS to Slack and to Postgres; nothing else is needed at run time.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --home-dir /var/lib/dynowatch --create-home dynowatch
COPY --from=build /src/target/release/dynowatch /usr/local/bin/dynowatch
USER dynowatch
WORKDIR /var/lib/dynowatch
# Inside a container only PORT makes it listen beyond loopback.
ENV PORT=8080
EXPOSE 8080
VOLUME /var/lib/dynowatch
STOPSIGNAL SIGTERM
ENTRYPOINT ["dynowatch"]
CMD ["serve"]
