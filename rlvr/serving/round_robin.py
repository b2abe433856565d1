"""The replicas of one model, in turns, without those that do not answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Replica", "RoundRobin"]


@dataclass(slots=True, kw_only=True)
class Replica:
    """A server with the model: `Replica(url="http://127.0.0.1:8001")`."""

    url: str
    is_up: bool = True  # as the last request or look at its health found it


class RoundRobin:
    """Each request begins at the next replica."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self.replicas = tuple(replicas)
        self._next = 0

    @property
    def num_up(self) -> int:
        """Replicas that answer."""
        return sum(replica.is_up for replica in self.replicas)

    def in_turn(self) -> Iterator[Replica]:
        """Those that are up, the next one first; asked for more while the first ones fail."""
        up = [replica for replica in self.replicas if replica.is_up]
        start, self._next = self._next, self._next + 1
        for i in range(len(up)):
            yield up[(start + i) % len(up)]
