"""What went through the router, per arm, as Prometheus reads it.

rlvr_requests_total{arm="a",status="200"} 20        rlvr_requests_per_second{arm="a"} 0.33
rlvr_latency_seconds{arm="a",quantile="0.95"} 1.2   rlvr_cache_hits_total{arm="a"} 3
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["Traffic", "quantile"]

WINDOW_S = 60.0  # of requests per second
NUM_LATENCIES = 1000  # the last so many of an arm: quantiles tell how it is now
QUANTILES = (0.5, 0.95)
FIRST_ERROR_STATUS = 500  # what is wrong with a request (4xx) is no fault of the server


class Traffic:
    """Counts and latencies; `clock` gives seconds that only rise."""

    def __init__(self, arms: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._arms = tuple(arms)
        self._clock = clock
        self._began_at = clock()
        self._statuses: Counter[tuple[str, int]] = Counter()
        self._hits: Counter[str] = Counter()
        self._latencies: Mapping[str, deque[float]] = {
            arm: deque(maxlen=NUM_LATENCIES) for arm in arms
        }
        self._ends: dict[str, deque[float]] = defaultdict(deque)

    def add(self, arm: str, *, status: int, latency_s: float, is_hit: bool = False) -> None:
        """One request, when its reply has gone out."""
        now = self._clock()
        self._statuses[arm, status] += 1
        self._hits[arm] += is_hit
        self._latencies[arm].append(latency_s)
        self._ends[arm].append(now)
        self._forget(arm, now)

    def text(self, healthy: Mapping[str, int]) -> str:
        """The page /metrics; `healthy`: arm -> replicas that answer."""
        return "".join(f"{line}\n" for line in self._lines(healthy))

    def _lines(self, healthy: Mapping[str, int]) -> Iterator[str]:
        yield "# TYPE rlvr_requests_total counter"
        for (arm, status), count in sorted(self._statuses.items()):
            yield f'rlvr_requests_total{{arm="{arm}",status="{status}"}} {count}'
        yield "# TYPE rlvr_errors_total counter"
        for arm in self._arms:
            yield f'rlvr_errors_total{{arm="{arm}"}} {self._num_errors(arm)}'
        yield "# TYPE rlvr_cache_hits_total counter"
        for arm in self._arms:
            yield f'rlvr_cache_hits_total{{arm="{arm}"}} {self._hits[arm]}'
        yield "# TYPE rlvr_requests_per_second gauge"
        for arm in self._arms:
            yield f'rlvr_requests_per_second{{arm="{arm}"}} {self._per_second(arm):.6g}'
        yield "# TYPE rlvr_latency_seconds gauge"
        for arm in self._arms:
            for q in QUANTILES:
                value = quantile(self._latencies[arm], q)
                yield f'rlvr_latency_seconds{{arm="{arm}",quantile="{q:g}"}} {value:.6g}'
        yield "# TYPE rlvr_replicas_healthy gauge"
        for arm in self._arms:
            yield f'rlvr_replicas_healthy{{arm="{arm}"}} {healthy.get(arm, 0)}'

    def _num_errors(self, arm: str) -> int:
        return sum(
            count
            for (of_arm, status), count in self._statuses.items()
            if of_arm == arm and status >= FIRST_ERROR_STATUS
        )

    def _per_second(self, arm: str) -> float:
        now = self._clock()
        self._forget(arm, now)
        return len(self._ends[arm]) / max(1.0, min(WINDOW_S, now - self._began_at))

    def _forget(self, arm: str, now: float) -> None:
        ends = self._ends[arm]
        while ends and ends[0] <= now - WINDOW_S:
            ends.popleft()


def quantile(values: Sequence[float] | deque[float], q: float) -> float:
    """The least value that at least a share `q` of them does not exceed; nan of none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]
