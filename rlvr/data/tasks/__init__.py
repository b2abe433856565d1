"""Where tasks come from: rows made into `Task`s, dealt out in an order that can be repeated.

    file or data set --rows--> Row --adapter--> Task --TaskList--> TaskStream --take(n)--> rollout
    batch

Nothing here imports torch; pyarrow and datasets are imported only where their formats are read.
"""

from __future__ import annotations

from rlvr.data.tasks.adapters import ADAPTERS, Adapter, UnreadableRow
from rlvr.data.tasks.opening import open_tasks
from rlvr.data.tasks.source import SkippedRow, TaskList, TaskSource
from rlvr.data.tasks.stream import TaskStream

__all__ = [
    "ADAPTERS",
    "Adapter",
    "SkippedRow",
    "TaskList",
    "TaskSource",
    "TaskStream",
    "UnreadableRow",
    "open_tasks",
]
