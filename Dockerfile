# syntax=docker/dockerfile:1

# Built with the compiler that Cargo.toml names, on the C library that the last stage has.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY benches benches
COPY config config
ARG OUTRIGGER_REVISION=unknown
ENV OUTRIGGER_REVISION=${OUTRIGGER_REVISION}
RUN cargo build --release --locked --bin outrigger
# The spool's folder, empty, owned by the user that runs: a volume mounted there takes its mode over.
RUN mkdir -p /spool

# glibc, libgcc, root certificates' folder, no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/outrigger /usr/local/bin/outrigger
COPY --from=build --chown=65532:65532 /spool /var/lib/outrigger
USER 65532:65532
# Nothing is written outside the spool: run it with a read-only root (`docker run --read-only`).
VOLUME ["/var/lib/outrigger"]
ENV OUTRIGGER_CONFIG=/etc/outrigger
# Metrics and probes. Ingest stays on loopback: containers of one pod share it.
EXPOSE 9460
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/local/bin/outrigger", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/outrigger"]
CMD ["run"]
