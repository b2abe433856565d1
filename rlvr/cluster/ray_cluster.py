"""Start a local Ray and watch it, or join a running cluster."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rlvr.cluster.process_reaper import no_orphans
from rlvr.cluster.signals import signals_held
from rlvr.errors import ActorDied, ConfigError, RLVRError, one_line

__all__ = ["Cluster", "connected", "unless_ray_dies"]

logger = logging.getLogger(__name__)

QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
VITAL = ("gcs_server", "raylet")
WATCH_S = 1.0

ResultT = TypeVar("ResultT")


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
    _log_messages()
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


def _log_messages() -> None:
    """Write what Ray reports to its driver to the log, where it would print pages."""
    import ray

    ray._private.worker.print_to_stdstream = lambda data, **options: logger.warning(
        "%s: %s", data["pid"], one_line(" ".join(data["lines"]))
    )


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


async def unless_ray_dies(work: Awaitable[ResultT]) -> ResultT:
    """Return the result of `work`; when a process of the local Ray dies, cancel it.

    Without its GCS Ray lets every process of the run die after a minute, the driver too.

    Raises ActorDied: a process of Ray died, also where `work` failed for that reason.
    """
    working, dying = asyncio.ensure_future(work), asyncio.ensure_future(_dead_process())
    try:
        both: set[asyncio.Future[Any]] = {working, dying}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if dying.done():
            raise ActorDied(dying.result())
        return await working
    except ActorDied as died:
        if dead := _dead_processes():
            raise ActorDied(dead[0]) from died
        raise
    finally:
        working.cancel()
        dying.cancel()


async def _dead_process() -> str:
    while not (dead := _dead_processes()):
        await asyncio.sleep(WATCH_S)
    return dead[0]


def _dead_processes() -> list[str]:
    """Return the processes of Ray that this process has started and that are dead; without them
    nothing works.
    """
    import ray

    node = ray._private.worker._global_node
    logs = Path(node.get_logs_dir_path())
    dead = [name for name, _ in node.dead_processes() if name in VITAL]
    return [f"Ray's {name} died; its log: {logs / name}.out" for name in dead]


def _num_cores() -> int:
    return len(os.sched_getaffinity(0))
