"""Rewards for runs of a model with random weights; runs name them by their dotted path."""

from __future__ import annotations

import os
import time
from typing import Any

Rewards = list[float | None]


def letters(completions: list[str]) -> Rewards:
    """The share of ASCII letters in the first 40 characters: seldom the same for two."""
    return [sum(c.isascii() and c.isalpha() for c in text[:40]) / 40 for text in completions]


def letters_as_in_trl(
    prompts: list[str], completions: list[str], completion_ids: list[list[int]], **columns: object
) -> Rewards:
    """The same, for what TRL would give: texts and lists of ints, and the task's columns."""
    assert all(prompt.startswith("User: ") for prompt in prompts)
    assert {type(token) for ids in completion_ids for token in ids} <= {int}
    assert len(prompts) == len(completion_ids) == len(completions)
    assert "answer" in columns and "trainer_state" not in columns
    return letters(completions)


def slow_letters(**given: Any) -> Rewards:
    """The same, so slowly that a test can step in between."""
    time.sleep(0.2)
    return letters_as_in_trl(**given)


def half_ungraded(completions: list[str]) -> Rewards:
    """None for every other completion of a chunk, and for one that comes alone."""
    return [None if i % 2 == 0 else 1.0 for i in range(len(completions))]


def constant(completions: list[str]) -> Rewards:
    """The same for all: nothing to learn from."""
    return [0.25 for _ in completions]


def not_a_number(completions: list[str]) -> Rewards:
    """Return 0.0 / 0.0 of numpy."""
    return [float("nan") for _ in completions]


def dying(completions: list[str]) -> Rewards:
    """Takes the whole grading process with it."""
    os._exit(1)


def stuck(completions: list[str]) -> Rewards:
    """Never return."""
    time.sleep(600)
    return letters(completions)


stuck.is_tried = False  # type: ignore[attr-defined]  # else a run waits for it before it starts
