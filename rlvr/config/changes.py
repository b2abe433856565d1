"""Keys of a recipe that may change when a run is continued, and what has changed.

    num_steps: Free[PositiveInt] = Field(...)    applies from the step at which the run continues
    trackers: Neutral[TrackersSection] = ...     has no influence on the result, but for rounding

A key without a mark is fixed: another value is another experiment. The mark of a section holds for
all of its keys. It is part of a key's JSON schema, as {"change": "free"}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

__all__ = ["Change", "Effect", "Free", "Neutral", "changes_between", "effect_of"]

T = TypeVar("T")


class Effect(StrEnum):
    """The meaning of another value of a key for a run that has begun."""

    FIXED = "fixed"  # another experiment
    FREE = "free"  # applies from here on; to files that are made from stored rows: to all rows
    NEUTRAL = "neutral"  # the result does not depend on it


Free = Annotated[T, Field(json_schema_extra={"change": Effect.FREE.value})]
Neutral = Annotated[T, Field(json_schema_extra={"change": Effect.NEUTRAL.value})]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A key with another value than before: `learner.lr was 0.001 and is 0.0005`."""

    key: str
    before: Any
    after: Any
    effect: Effect

    def __str__(self) -> str:
        return f"{self.key} was {self.before!r} and is {self.after!r}"


def effect_of(field: FieldInfo) -> Effect:
    """Return the mark of a field; without one it is fixed."""
    extra = field.json_schema_extra
    return (
        Effect(str(extra.get("change", Effect.FIXED))) if isinstance(extra, dict) else Effect.FIXED
    )


def changes_between(before: Mapping[str, Any], now: BaseModel) -> list[Change]:
    """Return the keys, sorted, whose values in a stored config differ from those of `now`.

    A key that the stored config lacks had its default.
    """
    found = _changes(before, now.model_dump(mode="json"), now)
    return sorted(found, key=lambda change: change.key)


def _changes(
    before: Any, now: Any, section: Any, key: str = "", effect: Effect = Effect.FIXED
) -> Iterator[Change]:
    """`now` is the dump of `section`, which is a section, or else the value of a key."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        fields = type(section).model_fields if isinstance(section, BaseModel) else {}
        for name in {**before, **now}:
            field, mark = fields.get(name), effect
            if field is not None and effect is Effect.FIXED:
                mark = effect_of(field)
            yield from _changes(
                before.get(name, _default(field)),
                now.get(name),
                getattr(section, name) if field is not None else None,
                f"{key}.{name}" if key else str(name),
                mark,
            )
    elif before != now:
        yield Change(key=key, before=before, after=now, effect=effect)


def _default(field: FieldInfo | None) -> Any:
    if field is None or field.is_required():
        return None
    default = field.get_default(call_default_factory=True)
    return default.model_dump(mode="json") if isinstance(default, BaseModel) else default
