"""`rlvr sample`: check the inputs, then run rejection sampling."""

from __future__ import annotations

from rlvr.data.inputs import Inputs, check_generation, check_is_finite
from rlvr.errors import ConfigError
from rlvr.run.run_folder import RunFolder, read_json
from rlvr.run.stage_protocol import Stage
from rlvr.stages.sample.rejection_filter import RejectionFilter
from rlvr.stages.sample.sample_config import SampleConfig

__all__ = ["STAGE"]


def _check(config: SampleConfig) -> Inputs:
    inputs = check_generation(config, config.tasks, config.rewards)
    check_is_finite(inputs.tasks, section="tasks")
    RejectionFilter(config)  # checks its evaluation sets and rewriting function
    if config.keep.one_language is not None and "language" not in inputs.tasks.task(0).columns:
        raise ConfigError(
            "keep.one_language: the tasks have no column 'language'; map one with "
            "tasks.columns.language=COLUMN or leave the filter out"
        )
    return inputs


def _run(config: SampleConfig, folder: RunFolder, inputs: Inputs) -> None:
    from rlvr.stages.sample.rejection_sampling import run_sample

    run_sample(config, folder, inputs)


def _closing(config: SampleConfig, folder: RunFolder) -> str:
    summary = read_json(folder.summary)
    dropped = ", ".join(f"{name} {count}" for name, count in summary["dropped"].items())
    return (
        f"{folder.path / 'kept.jsonl'}: {summary['num_kept']} of {summary['num_rows']} "
        f"completions, of {summary['num_tasks_kept']} of {summary['num_tasks']} tasks; dropped: "
        f"{dropped or 'none'}"
    )


STAGE = Stage(
    schema=SampleConfig,
    check=_check,
    run=_run,
    closing=_closing,
    free_keys=("keep", "rewrite"),  # completions that were generated stay
)
