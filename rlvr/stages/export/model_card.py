"""The model card: data, recipe, evaluation and where everything came from, read from run folders.

run --manifest.json--> inputs --their run's manifest.json--> inputs ... down to files and hub names
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from rlvr.stages.export.export_config import ExportConfig

__all__ = ["lineage", "model_card"]

SHORT_HASH = 12


def model_card(
    config: ExportConfig, run: Path, *, base: str | None, checked: dict[str, Any]
) -> str:
    """README.md as the hub reads it: front matter, then Markdown."""
    run = _run_of(run) or run
    parts = [
        _front_matter(config, base),
        f"# {config.name}\n",
        _opening(config, run, base, checked),
        _data(run),
        _evaluation(run, config),
        "## Lineage\n\n" + "\n".join(lineage(run)) + "\n",
        _recipe(run),
    ]
    return "\n".join(part for part in parts if part)


def lineage(run: Path) -> Iterator[str]:
    """Markdown lines: a run, below it its inputs, each with the run that made it."""
    yield from _lineage(run, depth=0, seen=set())


def _lineage(run: Path, *, depth: int, seen: set[Path]) -> Iterator[str]:
    manifest = _json(run / "manifest.json")
    indent = "  " * depth
    stage = _yaml(run / "config.yaml").get("stage", "model")
    revision = (manifest.get("git_revision") or "")[:SHORT_HASH]
    seed = f", seed {manifest['seed']}" if "seed" in manifest else ""
    made_by = f", rlvr {revision}" if revision else ""
    yield f"{indent}- `{run}`: {stage}{seed}{made_by}"
    seen.add(run.resolve())
    for key, entry in manifest.get("inputs", {}).items():
        digest = (entry.get("sha256") or "on the hub, or not kept")[:SHORT_HASH]
        yield f"{indent}  - {key}: `{entry['path']}` ({digest})"
        source = _run_of(Path(entry["path"]))
        if source is not None and source.resolve() not in seen:
            yield from _lineage(source, depth=depth + 2, seen=seen)


def _run_of(path: Path) -> Path | None:
    """The run folder that a model, an adapter or rows lie in."""
    candidates = [path, *path.parents][:3]
    return next((p for p in candidates if (p / "manifest.json").exists()), None)


def _front_matter(config: ExportConfig, base: str | None) -> str:
    values: dict[str, Any] = {
        "library_name": "peft" if config.form == "adapter" else "transformers",
        "tags": ["rlvr"],
    }
    if base:
        values["base_model"] = base
    if config.license:
        values["license"] = config.license
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---\n"


def _opening(config: ExportConfig, run: Path, base: str | None, checked: dict[str, Any]) -> str:
    kind = "An adapter" if config.form == "adapter" else f"A model in {config.dtype}"
    over = f" over `{base}`" if base else ""
    return (
        f"{kind}{over}, exported from the run `{run}`. Its logits on a fixed probe differ from the "
        f"run's by {checked['max_logit_diff']:.2g} at most.\n"
    )


def _data(run: Path) -> str:
    manifest = _json(run / "manifest.json")
    inputs = [
        f"- {key}: `{entry['path']}`"
        for key, entry in manifest.get("inputs", {}).items()
        if key.startswith(("data", "tasks", "teacher"))
    ]
    counts = [
        f"- {key}: {value}"
        for key, value in manifest.get("counts", {}).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return "\n".join(["## Data\n", *inputs, *counts, ""]) if inputs or counts else ""


def _evaluation(run: Path, config: ExportConfig) -> str:
    lines = [line for folder in [run, *map(Path, config.evals)] for line in _numbers(folder)]
    if not lines:
        return ""
    return "\n".join(["## Evaluation\n", "| run | what | value |", "|---|---|---|", *lines, ""])


def _numbers(folder: Path) -> Iterator[str]:
    for key, value in _flat(_json(folder / "summary.json")):
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield f"| `{folder}` | {key} | {value:.6g} |"


def _flat(data: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _recipe(run: Path) -> str:
    file = run / "config.yaml"
    if not file.exists():
        return ""
    return f"## Recipe\n\n```yaml\n{file.read_text(encoding='utf-8')}```\n"


def _json(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return data


def _yaml(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
