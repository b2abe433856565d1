"""`rlvr clean`: run the passes of a recipe over samples, then optionally back-translate some.

    rows --passes--> rows.jsonl (all, with the reason of dropped ones)  kept.jsonl  summary.json
    kept Chinese rows --teacher--> back_translated.jsonl, which a rerun resumes

The passes are deterministic: an interrupted run repeats them and writes its files as a whole. All
rows are held in memory.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr.data.cleaning.domains import balance
from rlvr.data.cleaning.passes import Pass, Sample, make_passes
from rlvr.data.rows import read_rows
from rlvr.errors import ConfigError
from rlvr.run.continuation import write_manifest
from rlvr.run.manifest import make_manifest
from rlvr.run.progress import Progress
from rlvr.run.row_log import RowLog, write_rows
from rlvr.run.run_folder import RunFolder, read_json, write_json
from rlvr.run.stage_protocol import Stage
from rlvr.stages.clean.clean_config import CleanConfig

__all__ = ["STAGE"]

CleanInputs = tuple[list[tuple[str, Sample]], list[tuple[str, Pass]]]


def check_clean(config: CleanConfig) -> CleanInputs:
    """Return (id, row) of all rows that an earlier stage kept, and the passes."""
    rows = list(_read(config))
    if not rows:
        raise ConfigError(f"data: {config.data} holds no rows that were kept")
    return rows, make_passes(config.passes, seed=config.seed)


def run_clean(config: CleanConfig, folder: RunFolder, inputs: CleanInputs) -> None:
    """Write the rows and the summary."""
    files = {"data": config.data, **_pass_files(config)}
    write_manifest(folder, make_manifest(config, inputs=files))
    rows, passes = inputs
    done: list[Sample] = []
    with Progress("rows", total=len(rows)) as progress:
        for id, row in rows:
            done.append(_pass_through(row, id, passes))
            progress.update(len(done))
    if config.back_translation is not None:
        from rlvr.stages.clean.back_translation import back_translate

        kept = [row for row in done if row["kept"]]
        log = RowLog(folder.path / "back_translated.jsonl")
        done += asyncio.run(back_translate(config.back_translation, kept, log, seed=config.seed))
    write_rows(folder.path / "rows.jsonl", done)
    write_rows(folder.path / "kept.jsonl", [row for row in done if row["kept"]])
    write_json(folder.summary, _summary(done, [name for name, _ in passes]))


def _read(config: CleanConfig) -> Iterator[tuple[str, Sample]]:
    """The default id of a row is its file and number."""
    seen: set[str] = set()
    for row in read_rows(config.data, split=config.split, section="data"):
        if row.values.get("kept") is False:
            continue
        id = str(row.values.get("id") or f"{Path(config.data).name.partition('.')[0]}/{row.number}")
        if id in seen:
            raise ConfigError(f"{row.where}: an earlier row has the id {id!r} too; ids are unique")
        seen.add(id)
        yield id, dict(row.values)


def _pass_through(row: Sample, id: str, passes: Sequence[tuple[str, Pass]]) -> Sample:
    dropped_by, reason = None, None
    for name, run_pass in passes:
        row, reason = run_pass(row, id)
        if reason is not None:
            dropped_by = name
            break
    kept = reason is None
    return {**row, "id": id, "kept": kept, "dropped_by": dropped_by, "dropped_because": reason}


def _summary(rows: Sequence[Sample], names: Sequence[str]) -> dict[str, Any]:
    dropped = Counter(row["dropped_by"] for row in rows if not row["kept"])
    kept = [row for row in rows if row["kept"]]
    summary = {
        "num_rows": len(rows),
        "num_kept": len(kept),
        "dropped": {name: dropped[name] for name in dict.fromkeys([*names, *dropped])},
    }
    if any("domain" in row for row in rows):
        summary["domains_before"] = balance(str(row.get("domain", "not reached")) for row in rows)
        summary["domains_kept"] = balance(str(row.get("domain")) for row in kept)
    return summary


def _pass_files(config: CleanConfig) -> dict[str, str]:
    """Evaluation sets and keyword files, by key."""
    files: dict[str, str | None] = {}
    for i, section in enumerate(config.passes):
        key = f"passes.{i}.{section.name}"
        sets: Mapping[str, Any] = getattr(section.options, "sets", {})
        files |= {f"{key}.sets.{name}.path": tasks.path for name, tasks in sets.items()}
        files[f"{key}.keywords"] = getattr(section.options, "keywords", None)
    return {key: path for key, path in files.items() if path}


def _closing(config: CleanConfig, folder: RunFolder) -> str:
    summary = read_json(folder.summary)
    lines = [f"{summary['num_kept']} of {summary['num_rows']} rows kept"]
    lines += [
        f"  {count:6} dropped by {name}" for name, count in summary["dropped"].items() if count
    ]
    if domains := summary.get("domains_kept"):
        shares = ", ".join(f"{name} {count}" for name, count in domains["rows"].items())
        lines.append(f"  domains: {shares}; smallest to largest {domains['smallest_to_largest']}")
    lines.append(f"kept in {folder.path / 'kept.jsonl'}, all in {folder.path / 'rows.jsonl'}")
    return "\n".join(lines)


STAGE = Stage(
    schema=CleanConfig,
    check=check_clean,
    run=run_clean,
    closing=_closing,
    work=("back_translated.jsonl",),
    needs_environment=False,
)
