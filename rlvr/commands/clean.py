"""`rlvr clean`: make rows of thoughts and answers fit to train on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlvr.config import CleanConfig, load_config
from rlvr.run_folder import RunFolder, RunStatus, read_json
from rlvr.stages.clean import check_clean, run_clean

__all__ = ["run"]


def run(recipe: str, overrides: Sequence[str]) -> int:
    """Exit status; raises RLVRError."""
    config = load_config(CleanConfig, recipe, overrides)
    folder = RunFolder(config.run_dir)
    with folder.locked():
        inputs = check_clean(config)
        if folder.claim(config) is RunStatus.FINISHED:
            print(_text(read_json(folder.summary)))
            print(f"{folder.path} is finished; to make it anew, delete it")
            return 0
        print(_text(run_clean(config, folder, inputs)))
        print(f"kept in {folder.path / 'kept.jsonl'}, all in {folder.path / 'rows.jsonl'}")
    return 0


def _text(summary: Mapping[str, Any]) -> str:
    lines = [f"{summary['num_kept']} of {summary['num_rows']} rows kept"]
    lines += [
        f"  {count:6} dropped by {name}" for name, count in summary["dropped"].items() if count
    ]
    if domains := summary.get("domains_kept"):
        shares = ", ".join(f"{name} {count}" for name, count in domains["rows"].items())
        lines.append(f"  domains: {shares}; smallest to largest {domains['smallest_to_largest']}")
    return "\n".join(lines)
