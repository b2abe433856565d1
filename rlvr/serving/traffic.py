"""A/B split, reply cache and traffic metrics of the router; metrics are in Prometheus' format.

rlvr_requests_total{arm="a",status="200"} 20        rlvr_requests_per_second{arm="a"} 0.33
rlvr_latency_seconds{arm="a",quantile="0.95"} 1.2   rlvr_cache_hits_total{arm="a"} 3
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

__all__ = ["ReplyCache", "Traffic", "TrafficSplit", "quantile", "reply_key"]

IGNORED_KEYS = ("user",)  # they do not change the reply
WINDOW_S = 60.0  # of requests per second
NUM_LATENCIES = 1000  # quantiles are over the latest requests of an arm
QUANTILES = (0.5, 0.95)
FIRST_ERROR_STATUS = 500  # 4xx is an error of the request, not of the server


class TrafficSplit:
    """Sticky A/B split by user and seed; `shares` (arm -> share) sum to 1."""

    def __init__(self, shares: Mapping[str, float], *, seed: int) -> None:
        assert abs(sum(shares.values()) - 1) < 1e-9, "shares sum to 1"
        self._shares = dict(shares)
        self._seed = seed

    def arm(self, user: str) -> str:
        """Return the arm of a user."""
        digest = hashlib.sha256(f"{self._seed}:{user}".encode()).digest()[:8]
        left = int.from_bytes(digest) / 2**64
        for arm, share in self._shares.items():
            if left < share:
                return arm
            left -= share
        return list(self._shares)[-1]  # rounding: the shares may sum to a little less than 1


class ReplyCache:
    """The bodies of the `size` replies that were used last."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._replies: dict[str | None, bytes] = {}  # least recently used first

    def get(self, key: str | None) -> bytes | None:
        """Return a cached reply; None if there is none."""
        reply = self._replies.pop(key, None)
        if reply is not None:
            self._replies[key] = reply
        return reply

    def put(self, key: str | None, reply: bytes) -> None:
        """Add a reply and evict the least recently used one; None: the reply is not cached."""
        if key is not None:
            self._replies.pop(key, None)
            self._replies[key] = reply
        if len(self._replies) > self._size:
            del self._replies[next(iter(self._replies))]


def reply_key(arm: str, path: str, body: Mapping[str, Any]) -> str | None:
    """Return the cache key of a request; None if its reply is sampled or streamed.

    A missing temperature is not 0: the server uses the model's default.
    """
    temperature = body.get("temperature")
    is_zero = isinstance(temperature, int | float) and temperature == 0
    if not is_zero or body.get("stream"):
        return None
    relevant = {key: value for key, value in body.items() if key not in IGNORED_KEYS}
    text = json.dumps([arm, path, relevant], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Traffic:
    """Counts and latencies of requests; `clock` returns monotonic seconds."""

    def __init__(self, arms: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
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
        statuses = sorted(self._statuses.items())
        requests = {f'arm="{arm}",status="{status}"': num for (arm, status), num in statuses}
        latencies = {
            f'arm="{arm}",quantile="{q:g}"': quantile(values, q)
            for arm, values in self._latencies.items()
            for q in QUANTILES
        }
        errors: Counter[str] = Counter()
        for (arm, status), num in statuses:
            errors[arm] += num * (status >= FIRST_ERROR_STATUS)

        def by_arm(value: Callable[[str], float]) -> dict[str, float]:
            return {f'arm="{arm}"': value(arm) for arm in self._ends}

        return (
            _metric("requests_total", "counter", requests)
            + _metric("errors_total", "counter", by_arm(lambda arm: errors[arm]))
            + _metric("cache_hits_total", "counter", by_arm(lambda arm: self._hits[arm]))
            + _metric("requests_per_second", "gauge", by_arm(self._per_second))
            + _metric("latency_seconds", "gauge", latencies)
            + _metric("replicas_healthy", "gauge", by_arm(lambda arm: healthy.get(arm, 0)))
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
