"""The base of all rewards: their types, and rewards by name or by the dotted path of a function.

columns --Reward.grade--> a Grade per completion --RewardMix--> a RewardResult per completion

`@reward(...)` registers a function where it is defined, with its columns, options and range of
values, which are known without a call. Importing `rewards` imports every registered one.

"package.module:function" is a user's function in TRL's form: keyword lists in, `list[float | None]`
out. Its parameters without a default are the columns it needs. It may declare the range of its
values, `short.value_range = (0.0, 1.0)`, and that it is too heavy to be tried on three rows on the
driver's machine before a run starts: `short.is_tried = False`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, ParamSpec

__all__ = [
    "REGISTERED",
    "Grade",
    "Outcome",
    "Reward",
    "RewardResult",
    "check_flag",
    "load_reward",
    "one_each",
    "reward",
]

_GIVEN = ("completions", "prompts", "completion_ids", "think_prefilled")  # not columns of the data
_OPTIONAL = ("completion_ids", "prompts")  # passed only to functions that take them
_TRAINER_ARGUMENTS = ("environments", "log_extra", "log_metric", "trainer_state")  # TRL's own

P = ParamSpec("P")


class Outcome(StrEnum):
    """Why a completion got its value."""

    CORRECT = "correct"  # 1
    WRONG = "wrong"  # less than 1: 0, or the part that was earned
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
    is_tried: bool = True  # whether it may be called on a few rows before the run's actors start
    check_options: Callable[[Mapping[str, Any]], None] = lambda options: None

    def grade(
        self, arguments: Mapping[str, Sequence[Any] | None], options: Mapping[str, Any]
    ) -> list[Grade]:
        """Return one grade per completion; `arguments` have one entry per completion.

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


REGISTERED: dict[str, Reward] = {}


class RewardFunction(Generic[P]):
    """A reward in TRL's form; `grades` takes the same arguments and returns the Grades."""

    __name__: str
    __qualname__: str

    def __init__(self, grades: Callable[P, Sequence[Grade]]) -> None:
        functools.update_wrapper(self, grades)
        self.grades = grades

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> list[float | None]:
        return [grade.value for grade in self.grades(*args, **kwargs)]

    def __reduce__(self) -> str:
        return self.__qualname__  # pickled by name, like a function


def reward(
    *,
    value_range: tuple[float, float] = (0.0, 1.0),
    columns: tuple[str, ...] = (),
    options: tuple[str, ...] = (),
    wants: tuple[str, ...] = (),
    uses_sandbox: bool = False,
    check_options: Callable[[Mapping[str, Any]], None] = lambda options: None,
) -> Callable[[Callable[P, Sequence[Grade]]], RewardFunction[P]]:
    """Make a function in TRL's form that returns Grades a reward, and register it by its name.

    The arguments are fields of `Reward`; a column that is also an option may be missing.
    """

    def register(grades: Callable[P, Sequence[Grade]]) -> RewardFunction[P]:
        REGISTERED[grades.__name__] = Reward(
            name=grades.__name__,
            function=grades,
            accepts=frozenset({"completions", "think_prefilled", *columns, *wants}),
            required_columns=columns,
            options=options,
            value_range=value_range,
            wants=wants,
            uses_sandbox=uses_sandbox,
            check_options=check_options,
        )
        return RewardFunction(grades)

    return register


def check_flag(name: str) -> Callable[[Mapping[str, Any]], None]:
    """Return a check that an option is a boolean."""

    def check(options: Mapping[str, Any]) -> None:
        if not isinstance(options.get(name, False), bool):
            raise ValueError(f"{name} is {options[name]!r}; allowed: true, false")

    return check


def load_reward(name: str) -> Reward:
    """Return a registered reward, or the function at "package.module:function".

    Raises:
        ValueError: no such reward, module or function, or the function needs an argument that only
            TRL's trainer has.
    """
    if name in REGISTERED:
        return REGISTERED[name]
    module_name, colon, function_name = name.partition(":")
    if not colon:
        known = ", ".join(sorted(REGISTERED))
        raise ValueError(f"no reward {name!r}; known: {known}; your own: package.module:function")
    try:
        function = getattr(importlib.import_module(module_name), function_name, None)
    except ImportError as error:
        raise ValueError(f"reward {name!r}: cannot import {module_name}: {error}") from error
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise ValueError(f"reward {name!r}: {module_name} has no plain function {function_name!r}")
    return _user_reward(name, function)


def _user_reward(name: str, function: Callable[..., Any]) -> Reward:
    parameters = inspect.signature(function).parameters.values()
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    accepts = frozenset(p.name for p in named)
    required = tuple(p.name for p in named if p.default is p.empty and p.name not in _GIVEN)
    for argument in set(required).intersection(_TRAINER_ARGUMENTS):
        raise ValueError(
            f"reward {name!r} needs {argument!r}, which only TRL's trainer has; give it a default"
        )
    return Reward(
        name=name,
        function=function,
        accepts=None if takes_all else accepts,
        required_columns=required,
        options=None if takes_all else tuple(sorted(accepts.difference(_GIVEN))),
        value_range=getattr(function, "value_range", None),
        wants=tuple(key for key in _OPTIONAL if takes_all or key in accepts),
        is_tried=getattr(function, "is_tried", True),
    )
