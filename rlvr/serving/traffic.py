"""Traffic metrics of the router, per arm, in Prometheus' text format.

rlvr_requests_total{arm="a",status="200"} 20        rlvr_requests_per_second{arm="a"} 0.33
rlvr_latency_seconds{arm="a",quantile="0.95"} 1.2   rlvr_cache_hits_total{arm="a"} 3
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Traffic", "quantile"]

WINDOW_S = 60.0  # of requests per second
NUM_LATENCIES = 1000  # quantiles are over the latest requests of an arm
QUANTILES = (0.5, 0.95)
FIRST_ERROR_STATUS = 500  # 4xx is an error of the request, not of the server


class Traffic:
    """Counts and latencies of requests; `clock` returns monotonic seconds."""

    def __init__(self, arms: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._arms = tuple(arms)
        self._clock = clock
        self._started_at = clock()
        self._statuses: Counter[tuple[str, int]] = Counter()
        self._hits: Counter[str] = Counter()
        self._latencies = {arm: deque[float](maxlen=NUM_LATENCIES) for arm in arms}
        self._ends = {arm: deque[float]() for arm in arms}  # within the window

    def add(self, arm: str, *, status: int, latency_s: float, is_hit: bool = False) -> None:
        """Count a request whose reply has been sent."""
        self._statuses[arm, status] += 1
        self._hits[arm] += is_hit
        self._latencies[arm].append(latency_s)
        self._ends[arm].append(self._clock())
        self._per_second(arm)

    def text(self, healthy: Mapping[str, int]) -> str:
        """Return the page /metrics; `healthy`: arm -> running replicas."""
        arms = {arm: f'arm="{arm}"' for arm in self._arms}
        requests = {
            f'arm="{arm}",status="{status}"': num
            for (arm, status), num in sorted(self._statuses.items())
        }
        errors: Counter[str] = Counter()
        for (arm, status), num in self._statuses.items():
            errors[arm] += num * (status >= FIRST_ERROR_STATUS)
        latencies = {
            f'{label},quantile="{q:g}"': quantile(self._latencies[arm], q)
            for arm, label in arms.items()
            for q in QUANTILES
        }
        per_second = {label: self._per_second(arm) for arm, label in arms.items()}
        return (
            _metric("requests_total", "counter", requests)
            + _metric("errors_total", "counter", {arms[arm]: errors[arm] for arm in arms})
            + _metric("cache_hits_total", "counter", {arms[arm]: self._hits[arm] for arm in arms})
            + _metric("requests_per_second", "gauge", per_second)
            + _metric("latency_seconds", "gauge", latencies)
            + _metric("replicas_healthy", "gauge", {arms[a]: healthy.get(a, 0) for a in arms})
        )

    def _per_second(self, arm: str) -> float:
        now, ends = self._clock(), self._ends[arm]
        while ends and ends[0] <= now - WINDOW_S:
            ends.popleft()
        return len(ends) / max(1.0, min(WINDOW_S, now - self._started_at))


def _metric(name: str, kind: str, values: Mapping[str, float]) -> str:
    """Return a metric's type and one line per set of labels."""
    lines = [
        f"rlvr_{name}{{{labels}}} {value if isinstance(value, int) else f'{value:.6g}'}\n"
        for labels, value in values.items()
    ]
    return f"# TYPE rlvr_{name} {kind}\n" + "".join(lines)


def quantile(values: Iterable[float], q: float) -> float:
    """Return the least value that at least a share `q` of them does not exceed; nan without any."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else math.nan
