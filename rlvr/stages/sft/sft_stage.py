"""`rlvr sft`: supervised fine-tuning, or the training of a reward model."""

from __future__ import annotations

from rlvr.run.run_folder import RunFolder, read_json, write_json
from rlvr.run.stage_protocol import Stage
from rlvr.stages.sft.examples import check_sources
from rlvr.stages.sft.ranks import has_gpu, run_ranks
from rlvr.stages.sft.sft_config import SftConfig
from rlvr.stages.sft.sft_plan import SftPlan, make_plan

__all__ = ["STAGE"]


def _check(config: SftConfig) -> SftPlan:
    plan = make_plan(config, is_cpu=not has_gpu())
    check_sources(plan)
    return plan


def _run(config: SftConfig, folder: RunFolder, plan: SftPlan) -> None:
    from rlvr.run.manifest import make_manifest

    write_json(folder.manifest, make_manifest(config, inputs=plan.inputs))
    run_ranks(plan, folder)


def _closing(config: SftConfig, folder: RunFolder) -> str:
    summary = read_json(folder.summary)
    result = folder.path / "adapter" if config.lora else folder.model
    return f"{result}: {summary['num_rows']} rows, mean loss {summary['train_loss']:.3f}"


STAGE = Stage(schema=SftConfig, check=_check, run=_run, closing=_closing)
