# The gateway and the sample servers, as static binaries on an empty image.
FROM golang:1.26.10 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ENV CGO_ENABLED=0
RUN go build -trimpath -o /out/ ./cmd/mcpgate ./examples/sample && mkdir -p /out/state

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/mcpgate /out/sample /usr/local/bin/
# A volume mounted here takes over this owner.
COPY --from=build --chown=65532:65532 /out/state /var/lib/mcpgate
USER nonroot
ENTRYPOINT ["/usr/local/bin/mcpgate"]
CMD ["serve", "--config", "/etc/mcpgate/mcpgate.yaml"]
