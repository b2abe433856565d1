"""Start a local Ray, or join a running cluster."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.cluster.process_reaper import no_orphans
from rlvr.cluster.signals import signals_held
from rlvr.errors import ConfigError, RLVRError, one_line

__all__ = ["Cluster", "connected"]

QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Resources of the Ray cluster."""

    num_gpus: int
    num_cpus: int  # of the smallest node, since a process has the threads of one node
    is_local: bool  # started by this process, and ends with it

    @property
    def is_cpu(self) -> bool:
        """Whether no node has a GPU."""
        return self.num_gpus == 0


@contextmanager
def connected(
    *, logs: Path, num_cpus: int = 1, weights_bytes: int | None = None
) -> Iterator[Cluster]:
    """Connect to the cluster at RAY_ADDRESS (set in a submitted job), or start a local one.

    A local Ray has at least `num_cpus` CPUs; `logs` gets a link to its logs. weights_bytes: size
    of the weights that pass through the object store; None: not known.

    Raises ConfigError: no cluster answers at RAY_ADDRESS; RLVRError: Ray does not start.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # 15: any other process takes the cores
    import ray

    _keep_signal_handlers()
    is_local = not os.environ.get("RAY_ADDRESS")
    with no_orphans() if is_local else nullcontext():
        try:
            with signals_held():
                if is_local:
                    _start_ray(logs=logs, num_cpus=num_cpus, weights_bytes=weights_bytes)
                else:
                    _join_cluster()
            node_cpus = [node["Resources"].get("CPU", 1) for node in ray.nodes() if node["Alive"]]
            yield Cluster(
                num_gpus=int(ray.cluster_resources().get("GPU", 0)),
                num_cpus=_num_cores() if is_local else max(1, int(min(node_cpus))),
                is_local=is_local,
            )
        finally:
            ray.shutdown()


def _keep_signal_handlers() -> None:
    """Prevent Ray from replacing this process's handler of SIGTERM; its actors keep Ray's own."""
    import ray

    # would end the process in the middle of Ray's start; signals_held delays the signal
    ray._private.utils.set_sigterm_handler = lambda handler: None
    # prints a stack for SIGTERM as for a crash, and aborts the process three seconds later
    ray._private.ray_constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER = True


def _start_ray(*, logs: Path, num_cpus: int, weights_bytes: int | None) -> None:
    import ray

    # None (a model on the hub): Ray takes a third of the memory
    store_bytes = None if weights_bytes is None else max(256 << 20, 4 * weights_bytes)
    try:
        ray.init(
            address="local",  # otherwise Ray joins any `ray start` on this machine
            num_cpus=max(_num_cores(), num_cpus),
            include_dashboard=False,
            object_store_memory=store_bytes,
            **QUIET,
        )
    except Exception as error:  # Ray raises no specific class
        raise RLVRError(f"Ray does not start on this machine: {one_line(error)}") from error
    # Ray needs a short path for its session, so the run folder only links to its logs
    link = logs / "ray"
    if link.is_dir() and not link.is_symlink():  # of a run folder that was copied
        shutil.rmtree(link)
    link.unlink(missing_ok=True)
    link.symlink_to(ray._private.worker._global_node.get_logs_dir_path())


def _join_cluster() -> None:
    import ray

    try:
        ray.init(**QUIET)
    except ConnectionError as error:
        where = os.environ["RAY_ADDRESS"]
        raise ConfigError(f"RAY_ADDRESS: no cluster answers at {where}: {error}") from None


def _num_cores() -> int:
    return len(os.sched_getaffinity(0))
