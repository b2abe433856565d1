"""A model on the hub: its card, and the upload or a dry run.

    run --manifest.json--> inputs --their run's manifest.json--> inputs ... down to files, hub names

The card has data, evaluation, lineage and recipe, read from run folders. The token is never written
to a file or printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from rlvr.errors import ConfigError, RLVRError, one_line
from rlvr.run.run_folder import read_json
from rlvr.stages.export.export_config import ExportConfig, PushSection

__all__ = ["check_push", "lineage", "push_folder", "render_card"]

SHORT_HASH = 12


def render_card(
    config: ExportConfig,
    run: Path,
    *,
    base: str | None,
    measured: Mapping[str, Any],
    is_final: bool = True,
) -> str:
    """Return README.md in the hub's form: front matter, then Markdown.

    is_final: whether the summary of `run` is about this model, not about a later one.
    """
    run = _run_of(run) or run
    kind = "An adapter" if config.form == "adapter" else f"A model in {config.dtype}"
    over = f" over `{base}`" if base else ""
    parts = [
        _front_matter(config, base),
        f"# {config.name}\n",
        f"{kind}{over}, exported from `{config.run}`. Its logits on a fixed probe differ from the "
        f"run's by {measured['max_logit_diff']:.2g} at most.\n",
        _data(run),
        _evaluation([*([run] if is_final else []), *map(Path, config.evals)]),
        "## Lineage\n\n" + "\n".join(lineage(run)) + "\n",
        _recipe(run / "config.yaml"),
    ]
    return "\n".join(part for part in parts if part)


def lineage(run: Path) -> Iterator[str]:
    """Yield Markdown lines: a run, below it its inputs, each with the run that made it."""
    yield from _lineage(run, depth=0, seen=set())


def check_push(section: PushSection) -> None:
    """Raise ConfigError where an upload is required and no token exists."""
    if section.dry_run is False and not _has_token():
        raise ConfigError(
            f"push: no token for {section.repo}; set HF_TOKEN or log in with `hf auth login`, or "
            "set push.dry_run=true for a dry run"
        )


def push_folder(folder: Path, section: PushSection) -> dict[str, Any]:
    """Upload a folder; return its files and whether they were pushed.

    Raises:
        RLVRError: the hub refuses or cannot be reached.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listed = [{"path": str(p.relative_to(folder)), "bytes": p.stat().st_size} for p in files]
    is_dry = not _has_token() if section.dry_run is None else section.dry_run
    if is_dry:
        total = sum(path.stat().st_size for path in files)
        print(f"dry run: {len(files)} files, {total} bytes would go to {section.repo}:")
        for entry in listed:
            print(f"  {entry['path']}  {entry['bytes']}")
    else:
        _upload(folder, section)
    return {"repo": section.repo, "pushed": not is_dry, "files": listed}


def _lineage(run: Path, *, depth: int, seen: set[Path]) -> Iterator[str]:
    manifest = _json(run / "manifest.json")
    config = run / "config.yaml"
    recipe = yaml.safe_load(config.read_text(encoding="utf-8")) if config.exists() else {}
    indent = "  " * depth
    revision = (manifest.get("git_revision") or "")[:SHORT_HASH]
    seed = f", seed {manifest['seed']}" if "seed" in manifest else ""
    made_by = f", rlvr {revision}" if revision else ""
    yield f"{indent}- `{run}`: {recipe.get('stage', 'model')}{seed}{made_by}"
    seen.add(run.resolve())
    for key, entry in manifest.get("inputs", {}).items():
        digest = (entry.get("sha256") or "on the hub, or not kept")[:SHORT_HASH]
        yield f"{indent}  - {key}: `{entry['path']}` ({digest})"
        source = _run_of(Path(entry["path"]))
        if source is not None and source.resolve() not in seen:
            yield from _lineage(source, depth=depth + 2, seen=seen)


def _run_of(path: Path) -> Path | None:
    """Return the run folder of a model, an adapter or a file of rows."""
    candidates = [path, *path.parents][:4]  # a run holds checkpoints/step_000020/model
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


def _data(run: Path) -> str:
    manifest = _json(run / "manifest.json")
    lines = [
        f"- {key}: `{entry['path']}`"
        for key, entry in manifest.get("inputs", {}).items()
        if key.startswith(("data", "tasks", "teacher"))
    ]
    counts = manifest.get("counts", {})
    lines += [f"- {key}: {value}" for key, value in counts.items() if _is_number(value)]
    return "\n".join(["## Data\n", *lines, ""]) if lines else ""


def _evaluation(folders: list[Path]) -> str:
    lines = [
        f"| `{folder}` | {key} | {value:.6g} |"
        for folder in folders
        for key, value in _flat(_json(folder / "summary.json"))
        if _is_number(value)
    ]
    if not lines:
        return ""
    return "\n".join(["## Evaluation\n", "| run | what | value |", "|---|---|---|", *lines, ""])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _recipe(file: Path) -> str:
    if not file.exists():
        return ""
    return f"## Recipe\n\n```yaml\n{file.read_text(encoding='utf-8')}```\n"


def _json(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def _upload(folder: Path, section: PushSection) -> None:
    import httpx2
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        api.create_repo(section.repo, private=section.private, exist_ok=True)
        api.upload_folder(repo_id=section.repo, folder_path=folder, commit_message="rlvr export")
    except (httpx2.HTTPError, OSError) as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise RLVRError(f"push: {section.repo}: {reason}; the same command retries") from None
    print(f"pushed to {section.repo}")


def _has_token() -> bool:
    from huggingface_hub import get_token

    return bool(get_token())
