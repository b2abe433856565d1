"""Setup of the processes of a run: packages, environment variables, output and logging."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import random
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rlvr.errors import ConfigError, RLVRError

__all__ = [
    "PORTS",
    "actor_env",
    "check_extra",
    "check_packages",
    "free_port",
    "log_to",
    "redirect_output",
]

FOR_RECIPES = ("numpy", "pydantic", "yaml")  # every command reads a recipe
REQUIRED = ("torch", "vllm", "deepspeed", "ray", "transformers")
# text models need none of these, but transformers and vLLM import them if they are installed
OPTIONAL = ("torchvision", "torchaudio", "torchcodec")

PORTS = range(20000, 32768)  # between those that Ray and those that Linux give out by themselves


def check_extra(command: str) -> None:
    """Raise ConfigError if the extra of this package that `rlvr COMMAND` needs is not installed."""
    if missing := [name for name in FOR_RECIPES if importlib.util.find_spec(name) is None]:
        raise ConfigError(_not_installed(missing, f"rlvr {command}"))


def check_packages() -> None:
    """Raise ConfigError for a missing required package or a broken optional one."""
    if missing := [name for name in REQUIRED if importlib.util.find_spec(name) is None]:
        raise ConfigError(_not_installed(missing, "this command"))
    for package in OPTIONAL:
        if importlib.util.find_spec(package) is None:
            continue
        try:
            importlib.import_module(package)
        except (ImportError, OSError, RuntimeError) as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ConfigError(
                f"{package} is installed but does not match this torch ({why}), which breaks "
                f"transformers and vLLM; text models do not need it: `python -m pip uninstall "
                f"{package}`"
            ) from None


def _not_installed(packages: Sequence[str], command: str) -> str:
    verb = "is" if len(packages) == 1 else "are"
    return (
        f"{', '.join(packages)} {verb} not installed; {command} needs the extra `train`: run `make "
        "setup` in the repository, or `pip install '.[train]'` and then the torch and vLLM of this "
        "machine"
    )


def actor_env(*, num_threads: int, is_cpu: bool) -> dict[str, str]:
    """Return the environment of an actor that computes, to be set before torch is imported.

    More threads than cores are slow: a training step took 0.39 s with one OpenMP thread and 4.3 s
    with two while another process was busy. Waiting threads must not spin either, because engine
    and learner take turns on the same cores.
    """
    env = {
        "OMP_NUM_THREADS": str(num_threads),
        "MKL_NUM_THREADS": str(num_threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
    }
    if is_cpu:
        env |= {"DS_ACCELERATOR": "cpu", "VLLM_TARGET_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    return env


def redirect_output(path: str) -> None:
    """Send stdout and stderr of this process, also those of C libraries, to a file.

    The name of the file is that of the process where its stacks are asked for.
    """
    from rlvr.cluster.stacks import answer_stack_requests  # imports asyncio

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    answer_stack_requests(Path(path))


def log_to(path: Path) -> None:
    """Send all log records and warnings of this process to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # no traceback for a record that does not fit on the disk


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that is free now, below those that Linux gives to any process that asks."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((host, port))
            return port
    raise RLVRError(f"{host or 'this machine'}: no free port from {PORTS[0]} to {PORTS[-1]}")
