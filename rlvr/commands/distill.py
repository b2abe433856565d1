"""`rlvr distill`: a teacher's replies, scored and filtered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlvr.config import load_config
from rlvr.config.distill import DistillConfig
from rlvr.run_folder import RunFolder, RunStatus, read_json
from rlvr.stages.distill_inputs import check_distill

__all__ = ["run"]

# may differ when a run goes on: who is asked, and what is done with the replies
FREE = ("teacher", "scoring", "filter", "export", "max_unanswered", "sandbox")


def run(recipe: str, overrides: Sequence[str]) -> int:
    """Exit status; raises RLVRError."""
    config = load_config(DistillConfig, recipe, overrides)
    folder = RunFolder(config.run_dir)
    with folder.locked():
        inputs = check_distill(config)
        if folder.claim(config, free=FREE) is RunStatus.FINISHED:
            print(_closing(folder, read_json(folder.summary)))
            return 0
        from rlvr.stages.distill import run_distill

        print(_closing(folder, run_distill(config, folder, inputs)))
    return 0


def _closing(folder: RunFolder, summary: Mapping[str, Any]) -> str:
    dropped = ", ".join(f"{name} {count}" for name, count in summary["dropped"].items())
    scored = ", ".join(f"{name} {count}" for name, count in summary["scored_by"].items())
    return (
        f"{folder.path / 'kept.jsonl'}: {summary['num_kept']} of {summary['num_rows']} rows; "
        f"dropped: {dropped or 'none'}; scored by: {scored}"
    )
