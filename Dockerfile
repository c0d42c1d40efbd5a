# syntax=docker/dockerfile:1
# The embedded control plane and the command line, for development: docs/container.md.
# The first stage has a compiler and the sources; the second gets the finished environment and
# nothing else. Neither holds a secret: an index that wants one is given as a build secret.
#
#     docker build --secret id=pip,src=pip.conf -t ostiary .

ARG PYTHON=3.13-slim-bookworm

FROM python:${PYTHON} AS build
# A compiler of the distribution's choice: nothing of it stays.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE CHANGELOG.md ./
COPY src src
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && python -m venv /opt/ostiary \
    && for wheel in /wheels/*.whl; do \
        /opt/ostiary/bin/python -m pip install --no-cache-dir "${wheel}[cli,dev,mcp]"; \
    done \
    && /opt/ostiary/bin/python -m pip uninstall --yes pip

FROM python:${PYTHON}
# A number, so that an orchestrator can see that it is not root.
RUN groupadd --gid 10001 ostiary \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home \
        --home-dir /var/lib/ostiary --shell /usr/sbin/nologin ostiary \
    && install -d -m 0700 -o 10001 -g 10001 /var/lib/ostiary
COPY --from=build /opt/ostiary /opt/ostiary
ENV PATH=/opt/ostiary/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SANCTUM_VAULT_PATH=/var/lib/ostiary
USER 10001:10001
WORKDIR /var/lib/ostiary
VOLUME /var/lib/ostiary
# It ends in order on SIGTERM, which is what `docker stop` sends.
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s --retries=3 \
    CMD ["ostiary", "doctor", "--json"]
ENTRYPOINT ["ostiary"]
CMD ["dev"]
