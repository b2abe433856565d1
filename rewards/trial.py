"""Rewards tried on a file: completions and golds in, a table of values with reasons out.

rows {"completion": ..., "answer": ...} --RewardMix--> value, outcome, reason of each reward
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from rewards.mix import RewardMix
from rewards.registry import REGISTERED
from rewards.worker_pool.pool import WorkersUnavailable, shutdown
from sandbox import SandboxUnavailable

__all__ = ["TrialError", "main", "read_rows", "try_rewards"]

_COMPLETION = "completion"
_CHUNK = 256
_WIDTH = 48
_BY_DEFAULT = ("think_format", "accuracy", "countdown", "passes_tests")
_OWN_COLUMNS = (_COMPLETION, "prompt", "think_prefilled")


class TrialError(ValueError):
    """The file, a row or an argument is wrong; one line says which and what is allowed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 something here is missing, 2 wrong input."""
    options = parser().parse_args(arguments)
    try:
        rewards = _asked_for(options.reward)
        rows = read_rows(Path(options.file))
        results = try_rewards(rows, rewards)
        _write(sys.stdout, results, as_json=options.json)
    except (OSError, ValueError) as error:
        print(f"reward test: {error}", file=sys.stderr)
        return 2
    except (SandboxUnavailable, WorkersUnavailable) as error:
        print(f"reward test: {error}", file=sys.stderr)
        return 1
    finally:
        shutdown()
    return 0


def parser(prog: str = "python -m rewards") -> argparse.ArgumentParser:
    known = ", ".join(sorted(REGISTERED))
    made = argparse.ArgumentParser(prog=prog, description=__doc__)
    made.add_argument(
        "file",
        metavar="FILE",
        help="JSONL (also .gz) or CSV: a column `completion` (text or messages), the columns that "
        "the rewards need, and `prompt` or `think_prefilled` where the prompt opened the thought",
    )
    made.add_argument(
        "--reward",
        action="append",
        metavar="NAME[:OPTION=VALUE,...]",
        help=f"repeatable; {known}, or package.module:function; else the format, and accuracy, "
        "countdown or passes_tests where their columns are there",
    )
    made.add_argument("--json", action="store_true", help="a JSON object a row, whole reasons")
    return made


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Raises TrialError that names the row (from 1) and what is wrong with it."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        is_csv = path.name.removesuffix(".gz").endswith(".csv")
        rows = list(csv.DictReader(file)) if is_csv else _read_json_lines(path, file)
    if not rows:
        raise TrialError(f"{path} holds no rows")
    for number, row in enumerate(rows, start=1):
        if row.get(_COMPLETION) is None:
            there = ", ".join(sorted(map(str, row))) or "none"
            raise TrialError(f"{path}, row {number}: no column 'completion'; there: {there}")
    return rows


def try_rewards(
    rows: Sequence[Mapping[str, Any]], rewards: Mapping[str, Mapping[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """One result per row: {"row", "value", "rewards": {name: {"value", "outcome", "reason"}}}.

    `rewards`: name -> options; None: format, and each of the common verifiers whose columns are
    there.
    """
    names = set().union(*rows)
    chosen = _fitting(names) if rewards is None else rewards
    mix = RewardMix({name: {"options": options} for name, options in chosen.items()})
    _check_columns(rows, mix.required_columns)
    results = []
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        for number, graded in enumerate(_graded(mix, chunk, names), start=start + 1):
            results.append({"row": number, **graded})
    return results


def _graded(
    mix: RewardMix, rows: Sequence[Mapping[str, Any]], names: set[str]
) -> list[dict[str, Any]]:
    columns = {name: [row.get(name) for row in rows] for name in names.difference(_OWN_COLUMNS)}
    flags = [row.get("think_prefilled") for row in rows]
    results = mix.grade(
        [row[_COMPLETION] for row in rows],
        columns,
        prompts=[row.get("prompt") for row in rows] if "prompt" in names else None,
        think_prefilled=[bool(flag) for flag in flags] if "think_prefilled" in names else None,
    )
    return [
        {
            "value": result.value,
            "rewards": {
                name: {
                    "value": value,
                    "outcome": result.outcomes[name],
                    "reason": result.reasons[name],
                }
                for name, value in result.parts.items()
            },
        }
        for result in results
    ]


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


def _asked_for(arguments: Sequence[str] | None) -> dict[str, dict[str, Any]] | None:
    """`think_format:profile=r1` as {"think_format": {"profile": "r1"}}."""
    if not arguments:
        return None
    asked = {}
    for argument in arguments:
        name, colon, text = argument.partition(":")
        if name not in REGISTERED and colon:  # package.module:function[:options]
            function, _, text = text.partition(":")
            name = f"{name}:{function}"
        asked[name] = dict(_option(argument, part) for part in text.split(",") if part)
    return asked


def _option(argument: str, text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise TrialError(f"--reward {argument}: {text!r} is no OPTION=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _fitting(names: set[str]) -> dict[str, dict[str, Any]]:
    fitting = [name for name in _BY_DEFAULT if names.issuperset(REGISTERED[name].required_columns)]
    return {name: {} for name in fitting}


def _check_columns(rows: Sequence[Mapping[str, Any]], needed: Sequence[str]) -> None:
    for number, row in enumerate(rows, start=1):
        for column in needed:
            if row.get(column) is None:
                there = ", ".join(sorted(map(str, row)))
                raise TrialError(f"row {number}: no column {column!r}; there: {there}")


def _write(file: TextIO, results: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for result in results:
            print(json.dumps(result, ensure_ascii=False), file=file)
        return
    rows = [("row", "reward", "value", "outcome", "reason")]
    for result in results:
        for name, part in result["rewards"].items():
            value = "None" if part["value"] is None else f"{part['value']:.3g}"
            rows.append((str(result["row"]), name, value, part["outcome"], _short(part["reason"])))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        print(line.rstrip(), file=file)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WIDTH else line[: _WIDTH - 3] + "..."
