"""Cache of deterministic replies: temperature 0, same model, parameters and prompt."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

__all__ = ["ReplyCache", "reply_key"]

IGNORED_KEYS = ("user",)  # they do not change the reply


class ReplyCache:
    """The `size` replies that were used last."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._replies: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str | None) -> bytes | None:
        """Return the body of a cached reply."""
        if key is None or key not in self._replies:
            return None
        self._replies.move_to_end(key)
        return self._replies[key]

    def put(self, key: str | None, reply: bytes) -> None:
        """Add a reply and evict the least recently used one."""
        if key is None:
            return
        self._replies[key] = reply
        self._replies.move_to_end(key)
        while len(self._replies) > self._size:
            self._replies.popitem(last=False)


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
