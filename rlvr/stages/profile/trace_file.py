"""Spans of all processes as Chrome trace events, the JSON that https://ui.perfetto.dev opens.

    Track --> process (pid), named after the actor
    lane  --> threads (tid) of it: as many as spans of the lane overlap without nesting

See "Trace Event Format" (Google, 2016): X is a span, C a counter, M a name. Times are microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rlvr.run.run_folder import write_text
from rlvr.run.trace import Span
from rlvr.stages.profile.tracks import Track

__all__ = ["trace_events", "write_trace"]


def write_trace(path: Path, tracks: Sequence[Track], *, start_ns: int) -> None:
    """Write a file that Perfetto and chrome://tracing open; time 0 is `start_ns`."""
    events = list(trace_events(tracks, start_ns=start_ns))
    content = {"traceEvents": events, "displayTimeUnit": "ms"}
    write_text(path, json.dumps(content, separators=(",", ":")) + "\n")


def trace_events(tracks: Sequence[Track], *, start_ns: int) -> Iterator[dict[str, Any]]:
    """Yield the events of all tracks, which are shown in this order."""
    for pid, track in enumerate(tracks, start=1):
        yield _metadata("process_name", pid, name=track.name)
        yield _metadata("process_sort_index", pid, sort_index=pid)
        for tid, (lane, spans) in enumerate(_threads(track.spans), start=1):
            yield _metadata("thread_name", pid, tid, name=lane or track.name)
            yield _metadata("thread_sort_index", pid, tid, sort_index=tid)
            for span in spans:
                yield {
                    "ph": "X",
                    "name": span.name,
                    "pid": pid,
                    "tid": tid,
                    "ts": (span.start_ns - start_ns) / 1e3,
                    "dur": (span.end_ns - span.start_ns) / 1e3,
                    "args": dict(span.arguments or {}),
                }
        for count in track.counts:
            yield {
                "ph": "C",
                "name": count.name,
                "pid": pid,
                "tid": 0,
                "ts": (count.at_ns - start_ns) / 1e3,
                "args": {"value": count.value},
            }


def _metadata(kind: str, pid: int, tid: int = 0, **arguments: Any) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "ts": 0, "args": arguments}


def _threads(spans: Sequence[Span]) -> list[tuple[str, list[Span]]]:
    """Distribute spans, sorted by start, over threads in which they nest: (lane, spans)."""
    threads: list[tuple[str, list[Span]]] = []
    open_spans: list[list[Span]] = []  # of each thread, the innermost one last
    for span in spans:
        for (lane, members), stack in zip(threads, open_spans, strict=True):
            while stack and stack[-1].end_ns <= span.start_ns:
                stack.pop()
            if lane == span.lane and (not stack or span.end_ns <= stack[-1].end_ns):
                members.append(span)
                stack.append(span)
                break
        else:
            threads.append((span.lane, [span]))
            open_spans.append([span])
    return sorted(threads, key=lambda thread: thread[0] != "")
