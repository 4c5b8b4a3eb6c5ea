# syntax=docker/dockerfile:1
FROM python:3.12-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/patchbay
COPY requirements.txt ./
RUN /opt/patchbay/bin/pip install -r requirements.txt \
    && /opt/patchbay/bin/pip install --no-deps silero-vad==6.2.3
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY audio audio
COPY sessions sessions
COPY gateway gateway
COPY patchbay patchbay
COPY mcp_servers mcp_servers
COPY console console
RUN /opt/patchbay/bin/pip install --no-deps .

FROM python:3.12-slim-bookworm
# The data folder is created here because a volume takes its owner from the folder it is mounted on.
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/patchbay patchbay \
    && install --directory --owner=patchbay /var/lib/patchbay/data
COPY --from=build /opt/patchbay /opt/patchbay
COPY --chown=patchbay:patchbay agents /etc/patchbay/agents
COPY --chown=patchbay:patchbay mcp.json /etc/patchbay/mcp.json
ENV PATH=/opt/patchbay/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PATCHBAY_HOST=0.0.0.0 \
    PATCHBAY_DATA_DIR=/var/lib/patchbay/data \
    PATCHBAY_AGENTS_DIR=/etc/patchbay/agents \
    PATCHBAY_MCP_CONFIG=/etc/patchbay/mcp.json \
    BOOKINGS_DB=/var/lib/patchbay/data/bookings.db
USER 10001
WORKDIR /var/lib/patchbay
VOLUME /var/lib/patchbay/data
EXPOSE 8080
# The server listens on more than loopback only if PATCHBAY_API_KEYS is set.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["python", "-m", "gateway.http.health"]
STOPSIGNAL SIGTERM
CMD ["patchbay", "serve"]
