"""A recipe's file and the overrides of a command -> a checked config, or one line on what is wrong.

Unknown keys are refused with the nearest known name, and every error says which file, which key,
which value, what is allowed.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from rlvr.config.sections import Section
from rlvr.errors import ConfigError

__all__ = ["load_config"]

ConfigT = TypeVar("ConfigT", bound=Section)


def load_config(schema: type[ConfigT], path: Path | str, overrides: Sequence[str] = ()) -> ConfigT:
    """Read a recipe, apply `a.b=c` overrides, check everything.

    Raises:
        ConfigError: with one line that names file, key, value and what is allowed.
    """
    path = Path(path)
    data = _read_yaml(path)
    for override in overrides:
        _apply_override(data, override)
    stage = schema.model_fields["stage"].default
    if data.get("stage", stage) != stage:
        raise ConfigError(f"{path}: stage is {data['stage']!r}; this command runs stage: {stage}")
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_describe(error, schema, data)}") from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such recipe; `ls recipes/*` lists those that come along"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{path}{where}: not valid YAML: {getattr(error, 'problem', error)}"
        ) from None
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: a recipe is a mapping of keys to values, not {type(data).__name__}"
        )
    return data


def _apply_override(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"{override!r}: an override has the form section.key=value")
    node = data
    *parents, last = _parts(data, key)
    for parent in parents:
        child = node.setdefault(parent, {})
        if (
            isinstance(child, int | float) and parents[0] == "rewards"
        ):  # `accuracy: 1.0` is short for a mapping
            child = node[parent] = {"weight": child}
        if not isinstance(child, dict):
            raise ConfigError(f"{override!r}: {parent} is a value, not a section")
        node = child
    node[last] = _scalar(text)


def _parts(data: Mapping[str, Any], key: str) -> list[str]:
    """`a.b.c` as the keys from section to section; a key of the recipe may hold dots itself, as the
    dotted path of a reward does.
    """
    node: Any = data
    parts = []
    while key:
        there = node if isinstance(node, Mapping) else {}
        whole = [str(name) for name in there if f"{key}.".startswith(f"{name}.")]
        part = max(whole, key=len, default=key.partition(".")[0])
        parts.append(part)
        node, key = there.get(part), key[len(part) + 1 :]
    return parts


def _scalar(text: str) -> Any:
    """A value as YAML reads it, but `1e-5` is a number, as people expect (YAML 1.1: text)."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return _number(value) if isinstance(value, str) else value


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _describe(error: ValidationError, schema: type[Section], data: Mapping[str, Any]) -> str:
    """The first problem of a validation, in one line; a misspelt key before a missing one."""
    problems = error.errors()
    first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    location = [str(part) for part in first["loc"]]
    key = ".".join(location)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _known_keys(schema, location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        return f"unknown key {key}; {hint}{more}"
    if first["type"] == "missing":
        return f"{key} is missing; add it to the recipe or give {key}=VALUE{more}"
    message = first["msg"].removeprefix("Value error, ")
    if not key:
        return message + more
    return f"{key}: {first['input']!r} is not allowed: {message}{more}"


def _known_keys(schema: type[BaseModel], location: Sequence[str]) -> list[str]:
    for part in location:
        if part.isdecimal():  # a place in a list
            continue
        field = schema.model_fields.get(part)
        annotation = field.annotation if field else None
        arguments = [annotation, *getattr(annotation, "__args__", ())]
        sections = [a for a in arguments if isinstance(a, type) and issubclass(a, BaseModel)]
        if not sections:
            return []
        schema = sections[0]
    return list(schema.model_fields)
