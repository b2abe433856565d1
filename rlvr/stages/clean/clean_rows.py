"""Cleaning: rows through the passes of a recipe, then perhaps more of them by back-translation.

    rows --passes--> rows.jsonl (all, with the reason why not)  kept.jsonl  summary.json (counts)
    kept Chinese rows --teacher--> back_translated.jsonl, which goes on where it stopped

The passes draw nothing and ask nobody: an interrupted run makes them again, and what it writes it
writes as a whole. All rows are held in memory.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr.data.cleaning.domains import balance
from rlvr.data.cleaning.passes import Pass, Row, make_passes
from rlvr.data.rows import read_rows
from rlvr.errors import ConfigError
from rlvr.run.manifest import make_manifest
from rlvr.run.row_log import RowLog, write_rows
from rlvr.run.run_folder import RunFolder, write_json
from rlvr.stages.clean.clean_config import CleanConfig

__all__ = ["Inputs", "check_clean", "run_clean"]

Inputs = tuple[list[tuple[str, Row]], list[tuple[str, Pass]]]


def check_clean(config: CleanConfig) -> Inputs:
    """(id, row) of all rows that an earlier stage kept, and the passes. Raises ConfigError."""
    rows = list(_read(config))
    if not rows:
        raise ConfigError(f"data: {config.data} holds no rows that were kept")
    return rows, make_passes(config.passes, seed=config.seed)


def run_clean(config: CleanConfig, folder: RunFolder, inputs: Inputs) -> dict[str, Any]:
    """Write the rows and the summary, and return it."""
    files = {"data": config.data}
    files |= _evaluation_files(config)
    write_json(folder.manifest, make_manifest(config, inputs=files))
    rows, passes = inputs
    done = [_passed(row, id, passes) for id, row in rows]
    if config.back_translation is not None:
        done += _back_translated(config, folder, [row for row in done if row["kept"]])
    kept = [row for row in done if row["kept"]]
    write_rows(folder.path / "rows.jsonl", done)
    write_rows(folder.path / "kept.jsonl", kept)
    summary = _summary(done, [name for name, _ in passes])
    write_json(folder.summary, summary)
    return summary


def _read(config: CleanConfig) -> Iterator[tuple[str, Row]]:
    """A row without an id is named by its place; ids that stand twice would hide rows."""
    seen: set[str] = set()
    for row in read_rows(config.data, split=config.split, section="data"):
        if row.values.get("kept") is False:
            continue
        id = str(row.values.get("id") or f"{Path(config.data).name.partition('.')[0]}/{row.number}")
        if id in seen:
            raise ConfigError(f"{row.where}: the id {id!r} stands twice; ids must differ")
        seen.add(id)
        yield id, dict(row.values)


def _passed(row: Row, id: str, passes: Sequence[tuple[str, Pass]]) -> Row:
    """The row as the last pass left it, with the reason of the one that dropped it."""
    for name, one in passes:
        row, reason = one(row, id)
        if reason is not None:
            return {**row, "id": id, "kept": False, "dropped_by": name, "dropped_because": reason}
    return {**row, "id": id, "kept": True, "dropped_by": None, "dropped_because": None}


def _back_translated(config: CleanConfig, folder: RunFolder, kept: Sequence[Row]) -> list[Row]:
    from rlvr.stages.clean.back_translation import back_translate

    assert config.back_translation is not None, "asked for"
    log = RowLog(folder.path / "back_translated.jsonl")
    return asyncio.run(back_translate(config.back_translation, kept, log, seed=config.seed))


def _summary(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Any]:
    dropped = Counter(row["dropped_by"] for row in rows if not row["kept"])
    kept = [row for row in rows if row["kept"]]
    summary = {
        "num_rows": len(rows),
        "num_kept": len(kept),
        "dropped": {name: dropped[name] for name in dict.fromkeys([*names, *dropped])},
    }
    if any("domain" in row for row in rows):
        of = [str(row.get("domain", "not reached")) for row in rows]
        summary["domains_before"] = balance(of)
        summary["domains_kept"] = balance(str(row.get("domain")) for row in kept)
    return summary


def _evaluation_files(config: CleanConfig) -> dict[str, str]:
    """What decides, beside the rows: evaluation sets and keywords in files."""
    files: dict[str, str] = {}
    for i, section in enumerate(config.passes):
        options: Any = section.options
        sets: Mapping[str, Any] = getattr(options, "sets", {})
        for name, tasks in sets.items():
            if tasks.path:
                files[f"passes.{i}.{section.name}.sets.{name}.path"] = tasks.path
        if getattr(options, "keywords", None):
            files[f"passes.{i}.{section.name}.keywords"] = options.keywords
    return files
