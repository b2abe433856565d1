"""The process of one rank: its environment, device and signals, all restored afterwards.

A pipeline may run several stages in one process, while libraries keep ranks and devices in globals
and in the environment.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from rlvr.cluster.processes import actor_env
from rlvr.cluster.signals import SIGNALS
from rlvr.stages.sft.sft_plan import SftPlan

__all__ = ["free_port", "has_gpu", "rank_env", "signals_handled_by", "training_process"]


def has_gpu() -> bool:
    """Return whether the machine has an NVIDIA GPU, without importing torch."""
    return shutil.which("nvidia-smi") is not None


def rank_env(plan: SftPlan, *, rank: int, port: int) -> dict[str, str]:
    """Return the environment of one rank; without DeepSpeed it names no ranks."""
    env = actor_env(num_threads=plan.threads, is_cpu=plan.is_cpu)
    env |= {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    if not plan.is_cpu and plan.num_ranks == 1:
        env["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    if plan.deepspeed.zero_stage is not None:
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        env |= dict.fromkeys(("RANK", "LOCAL_RANK"), str(rank))
        env |= dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(plan.num_ranks))
    return env


def free_port() -> int:
    """Return a port on which the ranks can meet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def signals_handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle Ctrl-C and SIGTERM with `handler` in the block."""
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, old_handler in before.items():
            signal.signal(number, old_handler)


@contextmanager
def training_process(env: Mapping[str, str]) -> Iterator[None]:
    """Train in this process under `env`; torch must not be imported before the first use."""
    before = dict(os.environ)
    os.environ.update(env)
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        _reset_ranks()
        os.environ.clear()
        os.environ.update(before)


def _reset_ranks() -> None:
    import torch.distributed as dist
    from accelerate.state import (  # type: ignore[import-untyped, unused-ignore]
        AcceleratorState,
        GradientState,
    )

    if dist.is_initialized():
        dist.destroy_process_group()
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
