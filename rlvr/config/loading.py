"""Load a recipe and its command-line overrides into a checked config.

Every error is one line that names the file, the key, the value and what is allowed.
"""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from rlvr.config.sections import Section
from rlvr.errors import ConfigError

__all__ = ["load_config"]

# old name -> new name; a recipe that uses an old one is refused with the new one
RENAMED_KEYS = {"gates": "checks"}  # sections at the top of a recipe
RENAMED_NAMES = {  # task sources and dotted paths, as keys or as values
    "toy_courtesies": "toy_requests",
    "rlvr.preference_reward:harmlessness": "rlvr.reward_models.preference_reward:harmlessness",
    "rlvr.preference_reward:preference": "rlvr.reward_models.preference_reward:preference",
    "rlvr.toy.worked:courtesies": "rlvr.toy.worked:requests",
}

ConfigT = TypeVar("ConfigT", bound=Section)


def load_config(
    schema: type[ConfigT],
    path: Path | str,
    overrides: Sequence[str] = (),
    *,
    values: Mapping[str, Any] | None = None,
) -> ConfigT:
    """Read a recipe, apply `a.b=c` overrides and validate the result.

    With `values`, no file is read: they are the recipe, and `path` names their source in errors.

    Raises ConfigError: one line that names the file, the key, the value and what is allowed.
    """
    data = _read_yaml(Path(path)) if values is None else copy.deepcopy(dict(values))
    for override in _in_full(data, overrides, schema.shorthands, path=path):
        _apply_override(data, override)
    for old in (data.keys() & RENAMED_KEYS.keys()) or RENAMED_NAMES.keys() & set(_names(data)):
        new = (RENAMED_KEYS | RENAMED_NAMES)[old]
        raise ConfigError(f"{path}: {old} was renamed; use {new}")
    stage = schema.model_fields["stage"].default
    if data.get("stage", stage) != stage:
        raise ConfigError(f"{path}: stage is {data['stage']!r}; this command runs stage: {stage}")
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_describe(error, schema)}") from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such recipe; `ls recipes/*` lists the recipes") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", error)
        raise ConfigError(f"{path}{where}: not valid YAML: {problem}") from None
    if not isinstance(data, dict):
        kind = type(data).__name__
        raise ConfigError(f"{path}: a recipe is a mapping of keys to values, not {kind}")
    return data


def _in_full(
    data: dict[str, Any],
    overrides: Sequence[str],
    shorthands: Mapping[str, str],
    *,
    path: Path | str,
) -> list[str]:
    """Return the overrides, and the shorthands of the recipe, with their keys in full.

    Raises ConfigError: a recipe, or the overrides, give both with different values.
    """
    found = list(overrides)
    for short, key in shorthands.items():
        values = {o.partition("=")[2] for o in found if o.startswith((f"{short}=", f"{key}="))}
        section, _, name = key.partition(".")
        is_doubled = short in data and name in (data.get(section) or {})
        if is_doubled or (len(values) > 1 and any(o.startswith(f"{short}=") for o in found)):
            raise ConfigError(f"{path}: {short} and {key} mean the same; give one of them")
        if short in data:
            found.insert(0, f"{key}={json.dumps(data.pop(short))}")
        found = [key + o.removeprefix(short) if o.startswith(f"{short}=") else o for o in found]
    return found


def _apply_override(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"{override!r}: an override has the form section.key=value")
    node = data
    *parents, last = _split_key(data, key)
    for parent in parents:
        child = node.setdefault(parent, {})
        if isinstance(child, int | float) and parents[0] == "rewards":
            child = node[parent] = {"weight": child}  # expand the short form `accuracy: 1.0`
        if not isinstance(child, dict):
            raise ConfigError(f"{override!r}: {parent} is a value, not a section")
        node = child
    node[last] = _parse_value(text)


def _split_key(data: Mapping[str, Any], key: str) -> list[str]:
    """Split `a.b.c` at its dots, except within keys of the recipe that contain dots themselves."""
    node: Any = data
    parts = []
    while key:
        children = node if isinstance(node, Mapping) else {}
        dotted = [n for n in (*children, *RENAMED_NAMES) if f"{key}.".startswith(f"{n}.")]
        part = max(map(str, dotted), key=len, default=key.partition(".")[0])
        parts.append(part)
        node, key = children.get(part), key[len(part) + 1 :]
    return parts


def _parse_value(text: str) -> Any:
    """Parse a value as YAML; unlike YAML 1.1, read `1e-5` as a number."""
    value: Any = text
    with suppress(yaml.YAMLError, ValueError):
        value = yaml.safe_load(text)
        return float(value) if isinstance(value, str) else value
    return value


def _names(node: Any) -> Iterator[str]:
    """Yield all keys and all text values below `node`."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        yield from map(str, node)
        yield from _names(list(node.values()))
    elif isinstance(node, list):
        for item in node:
            yield from _names(item)


def _describe(error: ValidationError, schema: type[Section]) -> str:
    """Describe the first problem in one line, preferring a misspelt key to a missing one."""
    problems = error.errors()
    first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    location = [str(part) for part in first["loc"]]
    key = ".".join(location)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _known_keys(schema, location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key {key}; {hint}{more}"
    if first["type"] == "missing":
        return f"{key} is missing; add it to the recipe or pass {key}=VALUE{more}"
    where = f"{key}: {first['input']!r} is not allowed: " if key else ""
    return f"{where}{first['msg'].removeprefix('Value error, ')}{more}"


def _known_keys(schema: type[BaseModel], location: Sequence[str]) -> list[str]:
    for part in location:
        if part.isdecimal():  # an index into a list
            continue
        field = schema.model_fields.get(part)
        annotation = field.annotation if field else None
        arguments = [annotation, *getattr(annotation, "__args__", ())]
        sections = [a for a in arguments if isinstance(a, type) and issubclass(a, BaseModel)]
        if not sections:
            return []
        schema = sections[0]
    return list(schema.model_fields)
