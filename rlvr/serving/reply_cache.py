"""Replies that cannot come out otherwise: temperature 0, the same model, parameters and prompt."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

__all__ = ["ReplyCache", "reply_key"]

WHO = ("user",)  # says who asks and changes no reply


class ReplyCache:
    """The replies that were used last; `size` 0 keeps none."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._replies: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str | None) -> bytes | None:
        """The body of a reply."""
        if key is None or key not in self._replies:
            return None
        self._replies.move_to_end(key)
        return self._replies[key]

    def put(self, key: str | None, reply: bytes) -> None:
        """Keep it, and forget the one that nobody has asked for the longest."""
        if key is None:
            return
        self._replies[key] = reply
        self._replies.move_to_end(key)
        while len(self._replies) > self._size:
            self._replies.popitem(last=False)


def reply_key(arm: str, path: str, body: Mapping[str, Any]) -> str | None:
    """Of a request that may be answered from the cache; None of one that is drawn or streamed.

    A missing temperature is not 0: servers then take the model's own.
    """
    temperature = body.get("temperature")
    is_zero = isinstance(temperature, int | float) and temperature == 0
    if not is_zero or body.get("stream"):
        return None
    asked = {key: value for key, value in body.items() if key not in WHO}
    text = json.dumps([arm, path, asked], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
