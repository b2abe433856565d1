"""`rlvr distill`: replies of a teacher, scored and filtered."""

from __future__ import annotations

from rlvr.run.run_folder import RunFolder, read_json
from rlvr.run.stage_protocol import Stage
from rlvr.stages.distill.distill_config import DistillConfig
from rlvr.stages.distill.distill_inputs import DistillInputs, check_distill

__all__ = ["STAGE"]


def _run(config: DistillConfig, folder: RunFolder, inputs: DistillInputs) -> None:
    from rlvr.stages.distill.distillation import run_distill

    run_distill(config, folder, inputs)


def _closing(config: DistillConfig, folder: RunFolder) -> str:
    summary = read_json(folder.summary)
    dropped = ", ".join(f"{name} {count}" for name, count in summary["dropped"].items())
    scored = ", ".join(f"{name} {count}" for name, count in summary["scored_by"].items())
    return (
        f"{folder.path / 'kept.jsonl'}: {summary['num_kept']} of {summary['num_rows']} rows; "
        f"dropped: {dropped or 'none'}; scored by: {scored}"
    )


STAGE = Stage(
    schema=DistillConfig,
    check=check_distill,
    run=_run,
    closing=_closing,
    # the replies on disk stay, whoever is asked next and whatever is done with them
    free_keys=("teacher", "scoring", "filter", "export", "max_unanswered", "sandbox"),
    needs_environment=False,
)
