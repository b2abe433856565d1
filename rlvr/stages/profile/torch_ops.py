"""Tracing in the process of a learner rank: spans of GPU work, and PyTorch's own profiler.

`profile.torch: true` turns the profiler on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.run.trace import start_trace

__all__ = ["OpTime", "ops_text", "start_gpu_trace", "start_torch_profiler", "take_torch_ops"]

NUM_OPS = 12  # in the table

_running: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpTime:
    """An operation of torch; the time is that of its own kernels, without operations it calls."""

    name: str
    self_s: float
    self_frac: float  # of all operations
    num_calls: int


def start_gpu_trace() -> None:
    """Record spans that wait for the kernels which they have launched."""
    import torch

    start_trace(torch.cuda.synchronize if torch.cuda.is_available() else None)


def start_torch_profiler() -> None:
    """Profile this thread from now on, and the GPU if there is one."""
    global _running
    import torch
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    _running = profile(activities=activities)
    _running.start()


def take_torch_ops(trace_path: str) -> list[OpTime]:
    """Stop, write torch's own trace, and return the operations with the longest times."""
    import torch

    _running.stop()
    _running.export_chrome_trace(trace_path)
    key = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    seconds = {op: getattr(op, key) / 1e6 for op in _running.key_averages()}
    total_s = sum(seconds.values()) or 1.0
    longest = sorted(seconds, key=lambda op: seconds[op], reverse=True)[:NUM_OPS]
    return [
        OpTime(name=op.key, self_s=seconds[op], self_frac=seconds[op] / total_s, num_calls=op.count)
        for op in longest
    ]


def ops_text(ops: Sequence[OpTime]) -> str:
    """Format as text: one line for each operation."""
    width = max((len(op.name) for op in ops), default=0)
    return "\n".join(
        f"  {op.name:{width}}  {op.self_s:8.3f} s  {op.self_frac:6.1%}  {op.num_calls:7,} calls"
        for op in ops
    )
