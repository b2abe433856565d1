"""A task source of your own: a function that returns tasks; see recipe.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlvr.types import Task

__all__ = ["doubling"]


def doubling(*, split: str | None = None, **options: Any) -> Sequence[Task]:
    """Return problems "2*N=?"; every tenth is held out.

    A source is called with `path`, `split`, `num_tasks` and `seed` of its section in the recipe;
    this one uses `split` alone. Task ids must be unique and stable.
    """
    is_heldout = split == "heldout"
    return [
        Task(id=f"doubling/{n}", prompt=f"2*{n}=?", columns={"answer": str(2 * n)})
        for n in range(1, 500)
        if (n % 10 == 0) is is_heldout
    ]
