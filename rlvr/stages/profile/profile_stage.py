"""`rlvr profile`: where the time of a GRPO step goes."""

from __future__ import annotations

from rlvr.data.inputs import Inputs
from rlvr.errors import ConfigError
from rlvr.grpo.grpo_stage import check_inputs, preflight
from rlvr.run.run_folder import RunFolder
from rlvr.run.stage_protocol import Stage
from rlvr.stages.profile.profile_config import ProfileConfig

__all__ = ["STAGE", "check_length"]


def check_length(config: ProfileConfig, *, num_steps: int) -> None:
    """Raise ConfigError if a run of this length has no whole batch to trace after the warm-up.

    While the last batches train, less is generated ahead, so they are not like the others.
    """
    needed = config.end_step + config.rollout.max_staleness * config.rollout.num_minibatches
    if num_steps < needed:
        raise ConfigError(
            f"num_steps: {num_steps} steps are too few to trace steps "
            f"{config.first_traced_step + 1} to {config.end_step}; pass num_steps={needed} or "
            "lower profile.warmup_batches"
        )


def _check(config: ProfileConfig) -> Inputs:
    inputs = check_inputs(config)
    check_length(config, num_steps=config.resolved(inputs.tasks.num_tasks).total_steps)
    return inputs


def _run(config: ProfileConfig, folder: RunFolder, inputs: Inputs) -> None:
    from rlvr.stages.profile.profile_run import run_profile

    run_profile(config, folder, inputs)


def _closing(config: ProfileConfig, folder: RunFolder) -> str:
    table = (folder.path / "profile.txt").read_text(encoding="utf-8")
    return (
        f"{table}\ntrace       {folder.path / 'trace.json'}  (open it at https://ui.perfetto.dev)\n"
        "A span that lies within another is indented; shares are of the traced time."
    )


STAGE = Stage(
    schema=ProfileConfig,
    check=_check,
    preflight=preflight,
    run=_run,
    closing=_closing,
    is_repeatable=True,
)
