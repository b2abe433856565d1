"""Spans of an engine for `rlvr profile`: steps of vLLM, running requests, batches and groups."""

from __future__ import annotations

import time
from typing import Any

from rlvr.run.trace import add_span, count, is_tracing

__all__ = ["BatchTrace", "traced_step"]


def traced_step(llm: Any) -> list[Any]:
    """Take a step of a vLLM LLMEngine and return its outputs.

    The span is "prefill" if waiting requests entered the step, whether or not it also decodes
    others, and "decode" otherwise.
    """
    if not is_tracing():
        outputs: list[Any] = llm.step()
        return outputs
    scheduler = llm.engine_core.engine_core.scheduler
    start_ns = time.time_ns()
    _, waiting_before = scheduler.get_request_counts()
    outputs = llm.step()
    running, waiting = scheduler.get_request_counts()
    name = "prefill" if waiting < waiting_before else "decode"
    add_span(name, start_ns=start_ns, num_running=running)
    count("running", running)
    count("waiting", waiting)
    return outputs


class BatchTrace:
    """Spans of a generate call and of its groups, each until its last completion is finished."""

    def __init__(self, num_requests: int) -> None:
        self._start_ns = time.time_ns()
        self._num_left = num_requests
        self._ends_ns: dict[int, int] = {}  # task index -> time of its latest completion

    def finished(self, task_index: int) -> None:
        """Note that a completion of this task is finished."""
        self._ends_ns[task_index] = time.time_ns()
        self._num_left -= 1
        if self._num_left == 0:
            add_span("generate", lane="batches", start_ns=self._start_ns)
            for index, end_ns in self._ends_ns.items():
                add_span("group", lane="groups", start_ns=self._start_ns, end_ns=end_ns, task=index)
