"""A completion as a row of training data: the common form between the stages.

{"id": "gsm8k/7#0", "task_id": "gsm8k/7", "prompt": ..., "reasoning_content": thought or null,
 "content": the rest, "completion": both as they were written, "scores": {reward: value}, ...}
"""

from __future__ import annotations

from typing import Any

from rlvr.data.reasoning_tags import split_thought
from rlvr.types import Rollout, Task

__all__ = ["completion_columns", "sample_row"]


def sample_row(
    task: Task, rollout: Rollout, *, number: int, think_prefilled: bool
) -> dict[str, Any]:
    """Return the row of a task's `number`-th completion, with the task's own columns."""
    return {
        **task.columns,
        "id": f"{task.id}#{number}",
        "task_id": task.id,
        **completion_columns(task, rollout, think_prefilled=think_prefilled),
    }


def completion_columns(task: Task, rollout: Rollout, *, think_prefilled: bool) -> dict[str, Any]:
    """Return the columns that every row of a graded completion has."""
    completion, reward = rollout.completion, rollout.reward
    thought, content = split_thought(completion.text, think_prefilled=think_prefilled)
    return {
        "prompt": task.prompt,
        "reasoning_content": thought,
        "content": content,
        "completion": completion.text,
        "think_prefilled": think_prefilled,
        "num_tokens": len(completion.token_ids),
        "finish_reason": completion.finish_reason.value,
        "scores": dict(reward.parts),
        "reasons": {name: reason for name, reason in reward.reasons.items() if reason},
    }
