"""Seconds by track and span within the traced steps.

track          its lane "" as a tree: rollout_wait, learn, learn/forward, ...
busy seconds   length of the union of the spans of one path, so that nothing counts twice
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rlvr.run.trace import Span
from rlvr.stages.profile.tracks import Track

__all__ = ["SpanTime", "busy_s", "span_times", "table_text"]

SpanPath = tuple[str, ...]  # names of a span and of those around it, the outermost first


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanTime:
    """The spans with one path in one track."""

    track: str
    path: SpanPath  # (): all spans of the track
    num_spans: int
    busy_s: float
    busy_frac: float  # of the traced time


def span_times(tracks: Sequence[Track], *, traced_s: float) -> list[SpanTime]:
    """Return the times of all tracks: the track as a whole, then its paths in order of time."""
    found = []
    for track in tracks:
        spans = [span for span in track.spans if not span.lane]
        by_path: defaultdict[SpanPath, list[Span]] = defaultdict(list)
        for path, span in _with_path(spans):
            by_path[path].append(span)
        for path, members in [((), spans), *_depth_first(by_path)]:
            seconds = busy_s(members)
            found.append(
                SpanTime(
                    track=track.name,
                    path=path,
                    num_spans=len(members),
                    busy_s=seconds,
                    busy_frac=seconds / traced_s,
                )
            )
    return found


def busy_s(spans: Sequence[Span]) -> float:
    """Return the seconds in which at least one of the spans, sorted by start, runs."""
    total_ns = end_ns = 0
    for span in spans:
        total_ns += max(0, span.end_ns - max(span.start_ns, end_ns))
        end_ns = max(end_ns, span.end_ns)
    return total_ns / 1e9


def table_text(times: Sequence[SpanTime]) -> str:
    """Format as text: one line for each track, and an indented one for each of its paths."""
    rows = [("", "busy, s", "of the time", "spans")]
    rows += [_cells(one) for one in times]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for label, *numbers in rows:
        cells = [label.ljust(widths[0]), *map(str.rjust, numbers, widths[1:])]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _cells(time: SpanTime) -> tuple[str, str, str, str]:
    label = "  " * len(time.path) + (time.path[-1] if time.path else time.track)
    num_spans = f"{time.num_spans}" if time.path else ""
    return label, f"{time.busy_s:.3f}", f"{time.busy_frac:.1%}", num_spans


def _with_path(spans: Sequence[Span]) -> Iterator[tuple[SpanPath, Span]]:
    """Yield the spans of one lane, sorted by start, with their paths."""
    stack: list[Span] = []
    for span in spans:
        while stack and stack[-1].end_ns <= span.start_ns:
            stack.pop()
        stack.append(span)
        yield tuple(one.name for one in stack), span


def _depth_first(by_path: dict[SpanPath, list[Span]]) -> Iterator[tuple[SpanPath, list[Span]]]:
    """Yield each path right before the paths below it."""
    order = list(by_path)

    def key(path: SpanPath) -> list[int]:
        return [order.index(path[:depth]) for depth in range(1, len(path) + 1)]

    for path in sorted(by_path, key=key):
        yield path, by_path[path]
