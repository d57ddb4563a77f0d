# One image for server, client and operator: `make image`. docs/operations.md "In a container" says how it is run.

ARG PYTHON_IMAGE=python:3.13-slim-trixie

# ------------------------------------------------------------------------------------------------- build
FROM ${PYTHON_IMAGE} AS build

# For strip: wheels bring symbols that only a debugger reads, 25 MiB of them.
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils

# pip lives in an environment of its own, so that the image's gets none.
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/sokken
# It writes no bytecode either: what there is has been compiled below.
ENV PYTHONDONTWRITEBYTECODE=1 \
    PIP_CACHE_DIR=/cache \
    PIP="/build/bin/pip --disable-pip-version-check --python /opt/sokken/bin/python"

# What others require for things that sokken does not do: colour source code, render Markdown, parse C.
ARG UNUSED="markdown-it-py mdurl pycparser pygments"

COPY requirements/ /src/requirements/
RUN --mount=type=cache,id=sokken-pip,target=/cache \
    $PIP install --quiet --no-compile --no-deps --require-hashes --only-binary :all: -r /src/requirements/runtime.txt && \
    $PIP uninstall --quiet --yes $UNUSED && \
    find /opt/sokken/bin -type f -delete && \
    find /opt/sokken -name '*.so' -exec strip --strip-unneeded {} + && \
    find /opt/sokken -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' \) -delete

# Bytecode that is never compared with its source, which nobody can change; so it does not matter when it was made.
ENV COMPILE="-m compileall -q --invalidation-mode unchecked-hash"
RUN /opt/sokken/bin/python $COMPILE /opt/sokken/lib

# sokken itself goes beside its dependencies, and becomes a small layer of its own.
COPY . /src/
RUN --mount=type=cache,id=sokken-pip,target=/cache \
    /build/bin/pip install --quiet --no-deps --require-hashes --only-binary :all: -r /src/requirements/build.txt && \
    /build/bin/pip wheel --quiet --no-deps --no-build-isolation --check-build-dependencies --wheel-dir /wheel /src && \
    $PIP install --quiet --no-compile --no-deps --no-index --find-links /wheel --root /own sokken && \
    /opt/sokken/bin/python $COMPILE -s /own -p / /own

# ------------------------------------------------------------------------------------------------- image
FROM ${PYTHON_IMAGE}

# Out of what the base brings: pip, in all its forms, and the right to become somebody else. The official base has no
# bytecode for Python's own library, and nobody can write it later: each start would compile it anew.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash \
        -x '/(ensurepip|idlelib|pydoc_data|site-packages|tkinter|turtledemo)/' \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" && \
    rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/ensurepip \
        /usr/lib/python3*/ensurepip /usr/share/python-wheels && \
    find / -xdev -type f -perm /6000 -exec chmod a-s {} +

COPY --from=build /opt/sokken /opt/sokken
COPY --from=build /own/opt/sokken /opt/sokken

ENV PATH=/opt/sokken/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONFAULTHANDLER=1

USER 65532:65532
ENTRYPOINT ["sokken"]
# It asks SOKKEN_API_ADDR, and an answer may take 3 seconds.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["sokken", "probe", "ready"]

# Last, because they change with each commit.
ARG PYTHON_IMAGE
ARG VERSION
ARG REVISION
ARG CREATED
ARG SOURCE
LABEL org.opencontainers.image.title="sokken" \
    org.opencontainers.image.description="A TCP tunnel through WebSockets that keeps half-closes and resets as they are" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    org.opencontainers.image.source="${SOURCE}" \
    org.opencontainers.image.base.name="${PYTHON_IMAGE}"
