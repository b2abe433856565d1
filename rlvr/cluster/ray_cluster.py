"""Ray: a cluster to run on."""

from __future__ import annotations

import logging
import os
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
    """What the machines offer."""

    num_gpus: int
    num_cpus: int  # of the smallest node
    is_local: bool  # started by this process, and ended with it

    @property
    def is_cpu(self) -> bool:
        """No GPU anywhere."""
        return self.num_gpus == 0


@contextmanager
def connected(
    *, logs: Path, num_cpus: int = 1, weights_bytes: int | None = None
) -> Iterator[Cluster]:
    """The cluster named by RAY_ADDRESS (a submitted job has it), or one of our own on this
    machine, with `num_cpus` at least and room for weights of that size to pass through (None: not
    known).

    Raises:
        ConfigError: nobody answers at RAY_ADDRESS.
        RLVRError: Ray does not start, on a machine that is very busy for instance.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    is_local = not os.environ.get("RAY_ADDRESS")
    with no_orphans() if is_local else nullcontext():
        try:
            with signals_held():
                if is_local:
                    _start_ray(logs=logs, num_cpus=num_cpus, weights_bytes=weights_bytes)
                else:
                    _join_cluster()
            resources = ray.cluster_resources()
            yield Cluster(
                num_gpus=int(resources.get("GPU", 0)),
                num_cpus=_num_cores() if is_local else _smallest_node_cpus(),
                is_local=is_local,
            )
        finally:
            ray.shutdown()


def _start_ray(*, logs: Path, num_cpus: int, weights_bytes: int | None) -> None:
    import ray

    _leave_sigterm_alone()
    # a model on the hub has no size yet; Ray then takes a third of the memory
    store_bytes = None if weights_bytes is None else max(256 << 20, 4 * weights_bytes)
    try:
        ray.init(
            address="local",  # else Ray joins whatever `ray start` has left on this machine
            num_cpus=max(_num_cores(), num_cpus),
            include_dashboard=False,
            object_store_memory=store_bytes,
            **QUIET,
        )
    except Exception as error:  # Ray has no class for it
        raise RLVRError(f"Ray does not start on this machine: {one_line(error)}") from error
    _link_ray_logs(logs)


def _join_cluster() -> None:
    import ray

    _leave_sigterm_alone()
    try:
        ray.init(**QUIET)
    except ConnectionError as error:
        where = os.environ["RAY_ADDRESS"]
        raise ConfigError(f"RAY_ADDRESS: no cluster answers at {where}: {error}") from None


def _leave_sigterm_alone() -> None:
    """Ray's own handler would abort its start half-way; ours waits until it stands."""
    import ray

    ray._private.utils.set_sigterm_handler = lambda handler: None


def _smallest_node_cpus() -> int:
    """Threads are those of one process, so what counts is a node and not the cluster."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return max(1, min(int(node.get("CPU", 1)) for node in nodes))


def _num_cores() -> int:
    return len(os.sched_getaffinity(0))


def _link_ray_logs(logs: Path) -> None:
    """Ray wants a short path for its session, so the run folder gets a link to its logs."""
    import ray

    link = logs / "ray"
    link.unlink(missing_ok=True)
    session = ray._private.worker._global_node.get_logs_dir_path()
    link.symlink_to(session)
