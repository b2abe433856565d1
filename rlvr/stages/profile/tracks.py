"""Records of the processes of a run, and the part of them that belongs to the traced steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlvr.run.trace import Count, Event, Span

__all__ = ["CONTROLLER", "Track", "Window", "clipped", "step_window"]

CONTROLLER = "controller"  # track of the process that runs the loop

Window = tuple[int, int]  # start and end, in nanoseconds of time.time_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """Spans and counters of one process."""

    name: str
    events: Sequence[Event]

    @property
    def spans(self) -> list[Span]:
        """The spans, each before those that lie within it."""
        found = [event for event in self.events if isinstance(event, Span)]
        return sorted(found, key=lambda span: (span.start_ns, -span.end_ns))

    @property
    def counts(self) -> list[Count]:
        """The values of counters, in order of time."""
        found = [event for event in self.events if isinstance(event, Count)]
        return sorted(found, key=lambda count: count.at_ns)


def clipped(track: Track, window: Window) -> Track:
    """Return the part of a track within a window of time."""
    start_ns, end_ns = window
    spans = [
        replace(span, start_ns=max(span.start_ns, start_ns), end_ns=min(span.end_ns, end_ns))
        for span in track.spans
        if span.start_ns < end_ns and span.end_ns > start_ns
    ]
    counts = [count for count in track.counts if start_ns <= count.at_ns <= end_ns]
    return replace(track, events=(*spans, *counts))


def step_window(tracks: Sequence[Track], *, after: int, until: int) -> Window:
    """Return start and end of the steps after step `after` up to step `until`."""
    (controller,) = (track for track in tracks if track.name == CONTROLLER)
    steps = {
        span.arguments["step"]: span
        for span in controller.spans
        if span.name == "step" and span.arguments
    }
    return steps[after + 1].start_ns, steps[until].end_ns
