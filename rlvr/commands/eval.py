"""`rlvr eval`: how good a model is, and at what cost."""

from __future__ import annotations

from collections.abc import Sequence

from rlvr.config import EvaluateConfig, load_config
from rlvr.environment import check_environment
from rlvr.evaluation.suites import check_eval
from rlvr.run_folder import RunFolder, RunStatus

__all__ = ["run"]


def run(recipe: str, overrides: Sequence[str]) -> int:
    """Exit status; raises RLVRError."""
    config = load_config(EvaluateConfig, recipe, overrides)
    folder = RunFolder(config.run_dir)
    report = folder.path / "report.md"
    with folder.locked():
        inputs = check_eval(config)
        if folder.claim(config) is RunStatus.FINISHED:
            print(report.read_text(encoding="utf-8"))
            print(f"This evaluation is finished. To make it anew, delete {folder.path}")
            return 0
        check_environment()
        from rlvr.evaluation.stage import run_eval

        run_eval(config, folder, inputs)
        print(report.read_text(encoding="utf-8"))
        print(f"rows    {folder.path / 'rows.jsonl'}\nsummary {folder.summary}\nreport  {report}")
    return 0
