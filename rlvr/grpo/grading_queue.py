"""Completions that wait for a reward worker.

    add: calls of any size --> waiting --take--> shares, one for each idle worker
                                                 a share's results --> its calls, each in order

A call may be spread over several shares, and a share may hold several calls.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from rlvr.types import RewardResult, Ungraded

__all__ = ["GradingQueue", "Share"]

MAX_PER_SHARE = 64  # completions; a call of a reward worker costs as much as grading a few of them


@dataclass(slots=True, kw_only=True, eq=False)
class _GradeCall:
    """Completions that were handed in together."""

    ungraded: Ungraded
    done: asyncio.Future[list[RewardResult]]
    results: dict[int, RewardResult] = field(default_factory=dict)  # by position in the call

    @property
    def kind(self) -> tuple[bool, bool, bool]:
        """Properties that calls must have in common to share a call of a worker."""
        given = self.ungraded
        return given.think_prefilled, given.prompts is None, given.completion_ids is None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Completions `start` to `stop` of a call."""

    call: _GradeCall
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Completions that one worker grades in one call."""

    pieces: Sequence[_Piece]

    @property
    def num_completions(self) -> int:
        """Number of completions."""
        return sum(piece.size for piece in self.pieces)

    @property
    def ungraded(self) -> Ungraded:
        """The completions of all pieces."""
        parts = [(piece.call.ungraded, slice(piece.start, piece.stop)) for piece in self.pieces]
        first = parts[0][0]
        has_prompts, has_ids = first.prompts is not None, first.completion_ids is not None
        return Ungraded(
            texts=[text for one, part in parts for text in one.texts[part]],
            columns=[row for one, part in parts for row in one.columns[part]],
            think_prefilled=first.think_prefilled,
            prompts=[text for one, part in parts for text in (one.prompts or ())[part]]
            if has_prompts
            else None,
            completion_ids=[ids for one, part in parts for ids in (one.completion_ids or ())[part]]
            if has_ids
            else None,
        )

    def deliver(self, results: Sequence[RewardResult]) -> None:
        """Hand the results to the calls; a call ends with its last one."""
        rest = iter(results)
        for piece in self.pieces:
            call = piece.call
            call.results.update(
                zip(range(piece.start, piece.stop), islice(rest, piece.size), strict=True)
            )
            num_completions = len(call.ungraded.texts)
            if len(call.results) == num_completions and not call.done.done():
                call.done.set_result([call.results[i] for i in range(num_completions)])

    def fail(self, error: Exception) -> None:
        """End the calls with an error."""
        for piece in self.pieces:
            if not piece.call.done.done():
                piece.call.done.set_exception(error)


class GradingQueue:
    """First come, first served."""

    def __init__(self, *, max_per_share: int = MAX_PER_SHARE) -> None:
        self._max_per_share = max_per_share
        self._pieces: deque[_Piece] = deque()
        self.num_completions = 0  # waiting

    def add(self, ungraded: Ungraded) -> asyncio.Future[list[RewardResult]]:
        """Return the future results, one for each completion in order."""
        done: asyncio.Future[list[RewardResult]] = asyncio.get_running_loop().create_future()
        num_completions = len(ungraded.texts)
        if num_completions:
            call = _GradeCall(ungraded=ungraded, done=done)
            self._pieces.append(_Piece(call=call, start=0, stop=num_completions))
            self.num_completions += num_completions
        else:
            done.set_result([])
        return done

    def take(self, *, num_idle: int) -> Share | None:
        """Remove the share of one of `num_idle` workers; None if nobody waits any more.

        A call that was cancelled, or has failed in another share, is dropped.
        """
        left = min(self._max_per_share, -(-self.num_completions // num_idle))
        pieces: list[_Piece] = []
        while self._pieces and left:
            piece = self._pieces[0]
            is_awaited = not piece.call.done.done()
            if is_awaited and pieces and piece.call.kind != pieces[0].call.kind:
                break
            self._pieces.popleft()
            if not is_awaited:
                self.num_completions -= piece.size
                continue
            cut = min(piece.stop, piece.start + left)
            if cut < piece.stop:
                self._pieces.appendleft(_Piece(call=piece.call, start=cut, stop=piece.stop))
            pieces.append(_Piece(call=piece.call, start=piece.start, stop=cut))
            left -= cut - piece.start
            self.num_completions -= cut - piece.start
        return Share(pieces=pieces) if pieces else None
