"""A user's reward functions, and what can be wrong with them; recipes name them by dotted path."""

from __future__ import annotations

import os
import re
import time
from typing import Any

__all__ = ["RAISING_LINE"]


def short(completions: list[str]) -> list[float]:
    """A good one."""
    print("graded", len(completions))
    return [1.0 if len(text) < 40 else 0.0 for text in completions]


short.value_range = (0.0, 1.0)  # type: ignore[attr-defined]


def with_columns(completions: list[str], level: list[int | None], **columns: Any) -> list[float]:
    """One with columns."""
    return [float(one or 0) for one in level]


def raising(completions: list[str]) -> list[float]:
    """One that takes for granted that each completion has an answer."""
    return [float(re.search("<answer>(.*)</answer>", text)[1] != "") for text in completions]  # type: ignore[index]


RAISING_LINE = 29  # of the line above that raises


def too_few(completions: list[str]) -> list[float]:
    return [1.0 for _ in completions[1:]]


def texts(completions: list[str]) -> list[str]:
    return ["1.0" for _ in completions]


def not_a_number(completions: list[str]) -> list[float]:
    return [float("nan") for _ in completions]


def no_arguments() -> list[float]:
    return []


def positional(texts: list[str], /) -> list[float]:
    return [1.0 for _ in texts]


def out_of_range(completions: list[str]) -> list[float]:
    return [7.0 for _ in completions]


out_of_range.value_range = (0.0, 1.0)  # type: ignore[attr-defined]


def dying(completions: list[str]) -> list[float]:
    os._exit(3)


def leaving(completions: list[str]) -> list[float]:
    raise SystemExit("bye")


def hanging(completions: list[str]) -> list[float]:
    time.sleep(600)
    return []


def heavy(completions: list[str]) -> list[float]:
    raise AssertionError("it must not be tried")


heavy.is_tried = False  # type: ignore[attr-defined]


def optional_hint(completions: list[str], hint: list[str] | str = "none") -> list[float]:
    """One with a column that a task may lack."""
    assert hint == "none" or all(isinstance(one, str) for one in hint)
    return [0.5 if hint == "none" else 1.0 for _ in completions]


def only_hinted(completions: list[str], hint: list[str]) -> list[float]:
    """One for the tasks that have the column."""
    return [1.0 for _ in hint]
