# docker build -t rlvr .                            CPU
# docker build -t rlvr --build-arg DEVICE=cuda .    NVIDIA GPUs
#
# docker run --rm -it rlvr make grpo
ARG DEVICE=cpu

FROM python:3.11-bookworm AS cpu
ENV PYTHON=python3.11

FROM nvidia/cuda:13.0.1-devel-ubuntu24.04 AS cuda
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        g++=4:13* git=1:2.43* make=4.3* python3.12-dev=3.12* python3.12-venv=3.12* \
    && rm -rf /var/lib/apt/lists/*
ENV PYTHON=python3.12

# hadolint ignore=DL3006
FROM ${DEVICE} AS rlvr
ARG DEVICE
WORKDIR /rlvr
# the environment first: it changes less often than the code
COPY pyproject.toml README.md LICENSE Makefile ./
COPY constraints constraints
COPY scripts scripts
RUN mkdir rlvr rewards sandbox && DEVICE=${DEVICE} make setup
COPY . .
ENV PATH=/rlvr/.venv/bin:$PATH
CMD ["rlvr", "--help"]
