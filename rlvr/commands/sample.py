"""`rlvr sample`: rejection sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlvr.config import SampleConfig, load_config
from rlvr.environment import check_environment
from rlvr.errors import ConfigError
from rlvr.inputs import check_is_finite, check_writer
from rlvr.run_folder import RunFolder, RunStatus, read_json
from rlvr.stages.keeping import Keeper

__all__ = ["run"]

FREE = ("keep", "rewrite")  # may differ when a run goes on: what is written stays


def run(recipe: str, overrides: Sequence[str]) -> int:
    """Exit status; raises RLVRError."""
    config = load_config(SampleConfig, recipe, overrides)
    folder = RunFolder(config.run_dir)
    with folder.locked():
        inputs = check_writer(config, config.tasks, config.rewards)
        check_is_finite(inputs.tasks, section="tasks")
        Keeper(config)
        if config.keep.one_language is not None:
            _check_language(inputs.tasks.task(0).columns)
        if folder.claim(config, free=FREE) is RunStatus.FINISHED:
            print(_closing(folder, read_json(folder.summary)))
            return 0
        check_environment()
        from rlvr.stages.sample import run_sample

        print(_closing(folder, run_sample(config, folder, inputs)))
    return 0


def _check_language(columns: Mapping[str, Any]) -> None:
    if "language" not in columns:
        raise ConfigError(
            "keep.one_language: the tasks have no column 'language'; map one with "
            "tasks.columns.language=COLUMN or leave the filter out"
        )


def _closing(folder: RunFolder, summary: Mapping[str, Any]) -> str:
    dropped = ", ".join(f"{name} {count}" for name, count in summary["dropped"].items())
    return (
        f"{folder.path / 'kept.jsonl'}: {summary['num_kept']} of {summary['num_rows']} "
        f"completions, of {summary['num_tasks_kept']} of {summary['num_tasks']} tasks; dropped: "
        f"{dropped or 'none'}"
    )
