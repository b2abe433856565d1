"""`python -m rewards FILE`: completions and gold answers in, a table of grades out."""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from rewards.base import REGISTERED, RewardResult
from rewards.mix import RewardMix
from rewards.worker_pool.pool import WorkersUnavailable, shutdown
from sandbox import SandboxUnavailable

__all__ = ["TrialError", "main", "read_rows", "try_rewards"]

_COMPLETION = "completion"
_CHUNK = 256
_WIDTH = 48
_DEFAULT_REWARDS = ("think_format", "accuracy", "countdown", "passes_tests")
_OTHER_ARGUMENTS = (_COMPLETION, "prompt", "think_prefilled")  # not columns of a reward


class TrialError(ValueError):
    """The file, a row or an argument is wrong."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 done, 1 a part of the installation is missing, 2 wrong input."""
    parser = argparse.ArgumentParser(prog="python -m rewards", description=__doc__)
    parser.add_argument(
        "file",
        metavar="FILE",
        help="JSONL (also .gz) or CSV: a column `completion` (text or messages), the columns that "
        "the rewards need, and `prompt` or `think_prefilled` where the prompt opens the reasoning",
    )
    parser.add_argument(
        "--reward",
        action="append",
        metavar="NAME[:OPTION=VALUE,...]",
        help=f"repeatable; {', '.join(sorted(REGISTERED))}, or package.module:function; by default "
        "think_format, and accuracy, countdown or passes_tests if the file has their columns",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per row, full reasons")
    options = parser.parse_args(arguments)
    try:
        rewards = _chosen_rewards(options.reward)
        _print(try_rewards(read_rows(Path(options.file)), rewards), as_json=options.json)
    except (OSError, ValueError) as error:
        print(f"reward test: {error}", file=sys.stderr)
        return 2
    except (SandboxUnavailable, WorkersUnavailable) as error:
        print(f"reward test: {error}", file=sys.stderr)
        return 1
    finally:
        shutdown()
    return 0


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSONL or CSV file.

    Raises:
        TrialError: a row is malformed or has no completion; names the row, from 1.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        is_csv = path.name.removesuffix(".gz").endswith(".csv")
        rows = list(csv.DictReader(file)) if is_csv else _read_json_lines(path, file)
    if not rows:
        raise TrialError(f"{path} holds no rows")
    _check_columns(rows, [_COMPLETION], f"{path}, ")
    return rows


def try_rewards(
    rows: Sequence[Mapping[str, Any]], rewards: Mapping[str, Mapping[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Return one result per row.

    A result is {"row", "value", "rewards": {name: {"value", "outcome", "reason"}}}.

    Args:
        rewards: name -> options; None: the format, and the common verifiers whose columns exist.
    """
    names = set().union(*rows)
    if rewards is None:
        fitting = (n for n in _DEFAULT_REWARDS if names.issuperset(REGISTERED[n].required_columns))
        rewards = {name: {} for name in fitting}
    mix = RewardMix({name: {"options": options} for name, options in rewards.items()})
    _check_columns(rows, mix.required_columns)
    results = []
    for start in range(0, len(rows), _CHUNK):
        results += _grade(mix, rows[start : start + _CHUNK], names)
    return [
        {
            "row": number,
            "value": result.value,
            "rewards": {name: asdict(grade) for name, grade in result.grades.items()},
        }
        for number, result in enumerate(results, start=1)
    ]


def _grade(
    mix: RewardMix, rows: Sequence[Mapping[str, Any]], names: set[str]
) -> list[RewardResult]:
    columns = {name: [row.get(name) for row in rows] for name in names.difference(_OTHER_ARGUMENTS)}
    flags = [bool(row.get("think_prefilled")) for row in rows]
    return mix.grade(
        [row[_COMPLETION] for row in rows],
        columns,
        prompts=[row.get("prompt") for row in rows] if "prompt" in names else None,
        think_prefilled=flags if "think_prefilled" in names else None,
    )


def _read_json_lines(path: Path, file: TextIO) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise TrialError(f"{path}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise TrialError(f"{path}, line {number}: {type(row).__name__}, not an object")
        rows.append(row)
    return rows


def _chosen_rewards(arguments: Sequence[str] | None) -> dict[str, dict[str, Any]] | None:
    """Return `think_format:profile=r1` as {"think_format": {"profile": "r1"}}."""
    if not arguments:
        return None
    chosen = {}
    for argument in arguments:
        name, colon, text = argument.partition(":")
        if name not in REGISTERED and colon:  # package.module:function[:options]
            function, _, text = text.partition(":")
            name = f"{name}:{function}"
        chosen[name] = dict(_option(argument, part) for part in text.split(",") if part)
    return chosen


def _option(argument: str, text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise TrialError(f"--reward {argument}: {text!r} is not OPTION=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _check_columns(
    rows: Sequence[Mapping[str, Any]], needed: Sequence[str], prefix: str = ""
) -> None:
    for number, row in enumerate(rows, start=1):
        for column in needed:
            if row.get(column) is None:
                found = ", ".join(sorted(map(str, row))) or "none"
                raise TrialError(f"{prefix}row {number}: no column {column!r}; found: {found}")


def _print(results: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for result in results:
            print(json.dumps(result, ensure_ascii=False))
        return
    rows = [("row", "reward", "value", "outcome", "reason")]
    for result in results:
        for name, grade in result["rewards"].items():
            value = "None" if grade["value"] is None else f"{grade['value']:.3g}"
            reason = " ".join(grade["reason"].split())
            if len(reason) > _WIDTH:
                reason = reason[: _WIDTH - 3] + "..."
            rows.append((str(result["row"]), name, value, grade["outcome"], reason))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        print("  ".join(map(str.ljust, cells, widths)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
