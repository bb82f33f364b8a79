# Two images, on Debian 13 with Python 3.13 (docs/containers.md):
#   docker build -t raxnet .                              segmenting and serving
#   docker build -t raxnet-pipeline --target pipeline .   Kubeflow's steps, Beam's workers, `raxnet run`
# BASE: pin it by digest, --build-arg BASE=debian@sha256:...; MODELS: a folder of models to bake in, within this one.
ARG BASE=debian:trixie-slim

FROM ${BASE} AS base
SHELL ["/bin/sh", "-e", "-c"]
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends python3 ca-certificates && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib

FROM base AS build
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv python3-dev g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/raxnet
COPY pyproject.toml requirements.lock ./
# The lock brings uv, checked by its digest, and uv checks the others'. nvidia-*: CUDA is not in these images.
RUN python3 -m venv /opt/tools \
    && awk '/^[A-Za-z0-9]/ { keep = /^uv==/ } keep' requirements.lock >/tmp/uv.lock \
    && /opt/tools/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/uv.lock \
    && awk '/^[A-Za-z0-9]/ { keep = !/^nvidia-/ } keep' requirements.lock >/tmp/cpu.lock \
    && /opt/tools/bin/uv pip install --no-cache --python /opt/tools/bin/python --require-hashes --group image -c /tmp/cpu.lock \
    && python3 -m venv --without-pip /opt/venv \
    && /opt/tools/bin/uv pip install --no-cache --python /opt/venv/bin/python --compile-bytecode --require-hashes \
       -r pyproject.toml --extra register -c /tmp/cpu.lock
COPY . .
RUN /opt/tools/bin/uv pip install --no-cache --python /opt/venv/bin/python --no-deps --no-build-isolation -e . \
    && /opt/venv/bin/python -m compileall -q common lesions reports serving trainer components pipeline \
    && sh deploy/docker/bill_of_materials.sh && rm -f /opt/venv/.lock

FROM base AS raxnet
ARG MODELS=deploy/docker/models
LABEL org.opencontainers.image.title="raxnet" \
      org.opencontainers.image.description="Stroke-lesion segmentation of T1-weighted MRI with RAX-Net: BIDS App and server" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/raxnet /opt/raxnet
COPY ${MODELS} /models
WORKDIR /opt/raxnet
USER 10001:10001
EXPOSE 8080 8501
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "/opt/raxnet/deploy/docker/healthcheck.py"]
ENTRYPOINT ["/opt/raxnet/deploy/docker/entrypoint.sh"]

FROM build AS build-pipeline
RUN /opt/tools/bin/uv pip install --no-cache --python /opt/venv/bin/python --compile-bytecode --require-hashes \
       -r pyproject.toml --extra pipeline --extra kubeflow --extra register -c /tmp/cpu.lock \
    && sh deploy/docker/bill_of_materials.sh && rm -f /opt/venv/.lock

FROM base AS pipeline
LABEL org.opencontainers.image.title="raxnet-pipeline" \
      org.opencontainers.image.description="RAX-Net's pipeline: Kubeflow's steps, Beam's workers, raxnet run" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-pipeline /opt/venv /opt/venv
COPY --from=build-pipeline /opt/raxnet /opt/raxnet
WORKDIR /opt/raxnet
USER 10001:10001
HEALTHCHECK NONE
ENTRYPOINT ["raxnet"]
CMD ["--help"]

# What is built where no --target is given.
FROM raxnet
