"""Rewards by name, and any other function by its dotted path.

`@reward(...)` registers a function where it is defined, with its columns, options and range of
values, which are known without a call. Importing `rewards` imports every registered one.

"package.module:function" is a user's function in TRL's form: keyword lists in, `list[float | None]`
out. Its parameters without a default are the columns it needs. It may declare the range of its
values: `short.value_range = (0.0, 1.0)`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, ParamSpec

from rewards.reward import GIVEN, Grade, Reward

__all__ = ["REGISTERED", "RewardFunction", "check_flag", "load_reward", "reward"]

REGISTERED: dict[str, Reward] = {}

P = ParamSpec("P")

_OPTIONAL = ("completion_ids", "prompts")  # passed only to functions that take them
_TRAINER_ARGUMENTS = ("environments", "log_extra", "log_metric", "trainer_state")  # TRL's own


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

    Args:
        value_range: least and largest value.
        columns: the columns it needs; one that is also an option may be missing from the data.
        options: the keyword arguments that a mix may set.
        wants: which of "completion_ids" and "prompts" it needs.
        uses_sandbox: it runs programs.
        check_options: raises ValueError for wrong options, before the first call.
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
    required = tuple(p.name for p in named if p.default is p.empty and p.name not in GIVEN)
    for argument in set(required).intersection(_TRAINER_ARGUMENTS):
        raise ValueError(
            f"reward {name!r} needs {argument!r}, which only TRL's trainer has; give it a default"
        )
    return Reward(
        name=name,
        function=function,
        accepts=None if takes_all else accepts,
        required_columns=required,
        options=None if takes_all else tuple(sorted(accepts.difference(GIVEN))),
        value_range=getattr(function, "value_range", None),
        wants=tuple(key for key in _OPTIONAL if takes_all or key in accepts),
    )
