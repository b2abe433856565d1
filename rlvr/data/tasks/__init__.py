"""Tasks: rows turned into `Task`s and drawn in a reproducible order.

    rlvr.data.rows --Row--> adapter --Task--> TaskList --> TaskStream --take(n)--> rollout batch

    task_loading   open_tasks: the `tasks` section of a recipe as a TaskSource
    adapters       the registry of known data sets; question_sets and program_sets read their rows
    sources        TaskSource and TaskList; TaskStream and Mixture: the order of the tasks

Nothing here imports torch; pyarrow and datasets are imported only to read their formats.
"""

from __future__ import annotations

from rlvr.data.tasks.adapters import ADAPTERS, Adapter
from rlvr.data.tasks.sources import (
    Mixture,
    MixtureSource,
    TaskList,
    TaskSource,
    TaskStream,
    place_of,
)
from rlvr.data.tasks.task_loading import open_tasks

__all__ = [
    "ADAPTERS",
    "Adapter",
    "Mixture",
    "MixtureSource",
    "TaskList",
    "TaskSource",
    "TaskStream",
    "open_tasks",
    "place_of",
]
