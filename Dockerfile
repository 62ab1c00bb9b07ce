# For the package with a native library.
FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY build build
COPY src src
RUN npm run build

# Node alone, without npm, corepack and yarn. The shell stays: bin/wakeport and the targets process and inetd need it.
FROM debian:bookworm-slim
COPY --from=build /usr/local/bin/node /usr/local/bin/node
# For relay: kernel: nftables conntrack.
ARG PACKAGES=""
# tini is PID 1, because processes of wakeport may leave children behind. netbase has the names of ports.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends netbase tini $PACKAGES \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
 && ln -s /app/bin/wakeport /usr/local/bin/wakeport
WORKDIR /app
COPY package.json ./
COPY bin bin
# The build contains all packages except the one with a native library.
COPY --from=dependencies /app/node_modules/koffi node_modules/koffi
COPY --from=dependencies /app/node_modules/@koromix node_modules/@koromix
COPY --from=build /app/dist dist

# wakeport reads its configuration from /etc/wakeport. Mount the directory: a mounted file keeps its old content when
# an editor replaces it.
ENV NODE_ENV=production WAKEPORT_ADMIN_LISTEN=0.0.0.0:9464
EXPOSE 9464
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["node", "/app/dist/main.js", "healthcheck"]
# Without the first flag, SIGUSR1 opens a debugger. The others reduce memory: docs/design/footprint.md.
ENTRYPOINT ["tini", "--", "node", "--disable-sigusr1", "--max-semi-space-size=4", "--expose-gc", "/app/dist/main.js"]
CMD ["run"]

ARG REVISION=unknown
ENV WAKEPORT_REVISION=$REVISION
LABEL org.opencontainers.image.title="wakeport" \
      org.opencontainers.image.description="A super-server for containers: starts the container behind a port when a client connects, and stops it when idle" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision=$REVISION
