"""The types of a reward: the reward itself, the grade of one completion, and the result of a mix.

columns --Reward.grade--> a Grade per completion --RewardMix--> a RewardResult per completion
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["GIVEN", "Grade", "Outcome", "Reward", "RewardResult", "one_each"]

GIVEN = ("completions", "prompts", "completion_ids", "think_prefilled")  # not columns of the data


class Outcome(StrEnum):
    """Why a completion got its value."""

    CORRECT = "correct"  # full marks
    WRONG = "wrong"  # less than full marks: 0, or the share that was earned
    NO_ANSWER = "no_answer"  # nothing that could be read as an answer; 0
    TRUNCATED = "truncated"  # the reasoning was never closed; 0
    UNGRADABLE_GOLD = "ungradable_gold"  # the gold answer cannot be read: a fault of the row; None
    TIMEOUT = "timeout"  # grading failed twice while an honest control row passed; 0
    ERROR = "error"  # grading is broken: the control row failed too; None
    VALUE = "value"  # a user's function, which returns no outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """One completion's grade: `Grade(value=0.0, outcome=Outcome.WRONG, reason="6 is not 5")`."""

    value: float | None  # None: could not be graded; never a silent 0
    outcome: Outcome
    reason: str = ""  # readable text for logs

    @classmethod
    def of(cls, outcome: Outcome, reason: str = "") -> Grade:
        """Return a grade with the usual value of its outcome: 1, 0 or None."""
        is_ungraded = outcome in (Outcome.UNGRADABLE_GOLD, Outcome.ERROR)
        value = None if is_ungraded else float(outcome is Outcome.CORRECT)
        return cls(value=value, outcome=outcome, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardResult:
    """The reward of one completion: the weighted sum of its grades, and the grades."""

    value: float | None  # None: not gradable; the completion is left out of statistics and loss
    grades: Mapping[str, Grade]  # reward name -> grade, unweighted

    @property
    def values(self) -> dict[str, float | None]:
        """The unweighted value of each reward."""
        return {name: grade.value for name, grade in self.grades.items()}

    @property
    def reasons(self) -> dict[str, str]:
        """The reason of each reward that gives one."""
        return {name: grade.reason for name, grade in self.grades.items() if grade.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """A reward function with everything that is known before it is called."""

    name: str
    function: Callable[..., Any]  # keyword lists in; a Grade, a float or None per completion out
    accepts: frozenset[str] | None  # its keyword arguments besides options; None: any
    required_columns: tuple[str, ...]
    options: tuple[str, ...] | None  # names of its options; None: not declared
    value_range: tuple[float, float] | None  # least and largest value; None: not declared
    wants: tuple[str, ...] = ()  # which of "completion_ids" and "prompts" it takes
    uses_sandbox: bool = False
    check_options: Callable[[Mapping[str, Any]], None] = lambda options: None

    def grade(
        self, arguments: Mapping[str, Sequence[Any] | None], options: Mapping[str, Any]
    ) -> list[Grade]:
        """Return one grade per completion.

        `arguments` are the data columns and those of `GIVEN`, with one entry per completion.

        Raises:
            ValueError: the function returned anything but a finite number, None or a Grade each.
        """
        accepts = arguments if self.accepts is None else self.accepts
        given = {name: entries for name, entries in arguments.items() if name in accepts}
        returned = self.function(**{**given, **options})
        num_completions = len(arguments["completions"] or ())
        is_list = hasattr(returned, "__len__") and hasattr(returned, "__iter__")
        if not is_list or isinstance(returned, str):
            kind = type(returned).__name__
            raise ValueError(
                f"reward {self.name!r} returned {kind}; it must return a list of float or None"
            )
        if len(returned) != num_completions:
            raise ValueError(
                f"reward {self.name!r} returned {len(returned)} values for {num_completions} "
                "completions"
            )
        return [self._as_grade(row, value) for row, value in enumerate(returned)]

    def _as_grade(self, row: int, value: object) -> Grade:
        if isinstance(value, Grade):
            return value
        if value is None:
            return Grade(value=None, outcome=Outcome.VALUE)
        if not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise ValueError(
                f"reward {self.name!r} returned {value!r} for completion {row}; "
                "it must be finite or None"
            )
        return Grade(value=float(value), outcome=Outcome.VALUE)


def one_each(
    name: str, entries: Any, num_completions: int, *, shared: bool = False
) -> Sequence[Any]:
    """Return the entries of a column; with `shared` it may be one value for all completions.

    Raises:
        ValueError: it is not a list with one entry per completion.
    """
    is_one = isinstance(entries, str | Mapping)
    if is_one and shared:
        return [entries] * num_completions
    if entries is None or is_one or len(entries) != num_completions:
        found = "none" if entries is None else "one value" if is_one else len(entries)
        raise ValueError(f"{name}: needs a list of {num_completions} entries, not {found}")
    return entries
