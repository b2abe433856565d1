"""A program: a reward worker and a learner rank on a node that leaves the Ray cluster.

Its argument is a folder, where it writes found.json: what became of their calls.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from rlvr.cluster.actors import Actor
from rlvr.cluster.process_reaper import no_orphans
from rlvr.cluster.stacks import PROCESSES, collect_stacks
from rlvr.errors import ActorDied
from rlvr.grpo.graders import GraderPool, RewardWorker
from rlvr.learner.learner_group import LearnerGroup
from rlvr.types import Ungraded

DEADLINE_S = 120.0
FOLDER = "LEAVING_NODE_FOLDER"
REWARDS = {"leaving_node:patient": {"weight": 1.0}}
UNGRADED = Ungraded(
    texts=["a", "bb"],
    columns=[{}, {}],
    think_prefilled=False,
    prompts=None,
    completion_ids=None,
)


def patient(completions: list[str]) -> list[float]:
    """Grade by length, in the worker that is started after the first one."""
    folder = Path(os.environ[FOLDER])
    (folder / "grading").touch()
    while not (folder / "left").exists():
        time.sleep(0.05)
    return [float(len(text)) for text in completions]


class WaitingRank:
    """A learner rank in the middle of a step."""

    def load_checkpoint(self, folder: str) -> None:
        (Path(folder) / "learning").touch()
        time.sleep(600)


def worker(logs: Path, **options: Any) -> Actor:
    """Start a reward worker."""
    log_path = str(logs / "rewards_0.log")
    handle = ray.remote(RewardWorker).options(num_cpus=0, **options).remote(REWARDS, log_path)
    return Actor(name="rewards_0", handle=handle, log_path=log_path)


async def started(actor: Actor) -> Actor:
    """Wait until it is ready."""
    await actor.call("ready", deadline_s=DEADLINE_S)
    return actor


async def stacks_from_elsewhere(logs: Path) -> str:
    """Stacks of the reward worker, as if its node were another machine."""
    file = logs / PROCESSES / "rewards_0.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"machine": "elsewhere"}))
    return (await collect_stacks(logs))["rewards_0"]


async def calls(cluster: Cluster, node: Any, folder: Path) -> dict[str, Any]:
    """Grade and learn on the node, and let it leave in the middle of both."""
    there = {"resources": {"leaving": 0.1}}

    async def start(i: int) -> Actor:
        (folder / "left").touch()
        return await started(worker(folder))

    pool = GraderPool(
        [worker(folder, **there)],
        start=start,
        deadline_s=DEADLINE_S,
    )
    rank = ray.remote(WaitingRank).options(num_cpus=0, **there).remote()
    learner = LearnerGroup(
        [Actor(name="learner_0", handle=rank, log_path="learner_0.log")], deadline_s=DEADLINE_S
    )
    grading = asyncio.create_task(pool.grade(UNGRADED))
    learning = asyncio.create_task(learner.load_checkpoint(str(folder)))
    async with asyncio.timeout(DEADLINE_S):
        while not all((folder / name).exists() for name in ("grading", "learning")):
            await asyncio.sleep(0.05)
    stacks = await stacks_from_elsewhere(folder)
    left_at = time.monotonic()
    await asyncio.to_thread(cluster.remove_node, node, allow_graceful=False)
    try:
        await learning
    except ActorDied as died:
        line, noticed_s = str(died), time.monotonic() - left_at
    return {
        "values": [result.value for result in await grading],
        "num_restarts": pool.num_restarts,
        "learner": line,
        "noticed_s": noticed_s,
        "stacks": stacks,
    }


def main(folder: Path) -> None:
    """Start two nodes on this machine."""
    os.environ[FOLDER] = str(folder)
    with no_orphans():
        head = {"num_cpus": 1, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            node = cluster.add_node(num_cpus=1, resources={"leaving": 1})
            ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
            found = asyncio.run(calls(cluster, node, folder))
            (folder / "found.json").write_text(json.dumps(found))
        finally:
            ray.shutdown()
            cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
