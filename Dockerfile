# The image: one static program, and nothing else to keep up to date. scripts/image.sh builds the program and calls buildah
# with the directory where it put it; there is no base image to fetch.
FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="vipgate" \
      org.opencontainers.image.description="Virtual IPs for Gateways and Services on bare metal, with L4 routing built in" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.url="https://vipgate.dev" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --chown=0:0 --chmod=0555 vipgate /usr/bin/vipgate
COPY --chown=0:0 --chmod=0444 LICENSE /usr/share/licenses/vipgate/LICENSE
# So that `kubectl exec POD -- vipgate status` finds it.
ENV PATH=/usr/bin
# The controller's; the chart gives speakers root with three capabilities.
USER 65532:65532
ENTRYPOINT ["/usr/bin/vipgate"]
