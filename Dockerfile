# Two images: `docker build --target cpu .` (ONNX Runtime, no torch) and `--target gpu` (torch, CUDA
# from its wheels). Everything is pinned by version and hash in deploy/image; nothing is downloaded
# while they run. tests/deploy/test_image.py runs the same steps in an empty environment.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# The tools that build the wheel stay in this stage; the image gets no pip.
RUN python -m venv /opt/build
COPY deploy/image/build.txt deploy/image/
RUN /opt/build/bin/python -m pip install --only-binary :all: --require-hashes -r deploy/image/build.txt
RUN python -m venv --without-pip /opt/isoglot
COPY deploy/image/cpu.txt deploy/image/
RUN /opt/build/bin/python -m pip --python /opt/isoglot/bin/python install --only-binary :all: --require-hashes -r deploy/image/cpu.txt

FROM build AS build-wheel
COPY LICENSE README.md pyproject.toml ./
COPY app app
COPY training training
COPY demo demo
COPY bundles/starter bundles/starter
RUN /opt/build/bin/python -m pip wheel --no-build-isolation --no-deps --no-index --wheel-dir /src/dist .

FROM build-wheel AS build-cpu
RUN /opt/build/bin/python -m pip --python /opt/isoglot/bin/python install --no-deps --no-index --find-links /src/dist isoglot

FROM build-wheel AS build-gpu
COPY deploy/image/gpu.txt deploy/image/
RUN /opt/build/bin/python -m pip --python /opt/isoglot/bin/python install --only-binary :all: --require-hashes -r deploy/image/gpu.txt
RUN /opt/build/bin/python -m pip --python /opt/isoglot/bin/python install --no-deps --no-index --find-links /src/dist isoglot

FROM ${BASE} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Isoglot" \
      org.opencontainers.image.description="Multilingual search whose scores mean what they say" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The root file system may be read-only: what is written lies under /data, and /tmp is a tmpfs.
RUN groupadd --system --gid 10001 isoglot \
    && useradd --system --uid 10001 --gid 10001 --home-dir /data --shell /usr/sbin/nologin isoglot \
    && install --directory --owner=10001 --group=10001 --mode=0750 /data
ENV PATH=/opt/isoglot/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HUB_OFFLINE=1 \
    HF_DATASETS_OFFLINE=1 \
    TRANSFORMERS_OFFLINE=1 \
    DO_NOT_TRACK=1 \
    ISOGLOT_HOST=0.0.0.0 \
    ISOGLOT_PORT=8000 \
    ISOGLOT_DATA_DIR=/data \
    ISOGLOT_LOG_FORMAT=json
WORKDIR /data
USER 10001:10001
EXPOSE 8000
VOLUME ["/data"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
# Without API keys it refuses to listen on 0.0.0.0: there is no insecure default.
CMD ["isoglot", "serve"]

FROM runtime AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-gpu /opt/isoglot /opt/isoglot

# The last stage is what `docker build` makes without --target.
FROM runtime AS cpu
COPY --from=build-cpu /opt/isoglot /opt/isoglot
