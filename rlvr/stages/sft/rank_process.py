"""The process that trains: its threads, its device, its rank; and all of it undone afterwards.

A chain of stages may run several in one process, and libraries keep what they know of ranks and
devices in globals and in the environment.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rlvr.cluster.processes import actor_env
from rlvr.stages.sft.sft_config import SftConfig

__all__ = ["free_port", "has_gpu", "rank_env", "training_process"]


def has_gpu() -> bool:
    """Asked before torch is imported."""
    return shutil.which("nvidia-smi") is not None


def rank_env(config: SftConfig, *, rank: int, port: int) -> dict[str, str]:
    """The environment of one rank; without DeepSpeed there is no word of ranks in it."""
    is_cpu = not has_gpu()
    threads = config.threads or max(1, len(os.sched_getaffinity(0)) // config.num_ranks)
    env = actor_env(num_threads=threads, is_cpu=is_cpu)
    env |= {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    if not is_cpu and config.num_ranks == 1:
        env["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    if config.deepspeed.zero_stage is not None:
        env |= {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(config.num_ranks),
            "LOCAL_WORLD_SIZE": str(config.num_ranks),
        }
    return env


def free_port() -> int:
    """Where the ranks can meet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def training_process(env: Mapping[str, str]) -> Iterator[None]:
    """Set before torch is imported. Bars for work of a second would only hide lines that matter."""
    before = dict(os.environ)
    os.environ.update(env)
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        _forget_ranks()
        os.environ.clear()
        os.environ.update(before)


def _forget_ranks() -> None:
    import torch.distributed as dist
    from accelerate.state import (  # type: ignore[import-untyped, unused-ignore]
        AcceleratorState,
        GradientState,
    )

    if dist.is_initialized():
        dist.destroy_process_group()
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
