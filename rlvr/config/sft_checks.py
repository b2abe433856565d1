"""What keys of a recipe for `rlvr sft` say together, and must not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlvr.config.sft import SftConfig

__all__ = ["problems"]


def problems(config: SftConfig) -> Iterator[str]:
    """One line for each thing that does not fit, the plainest first."""
    yield from _of_lengths(config)
    yield from _of_data(config)
    yield from _of_optimizer(config)
    yield from _of_deepspeed(config)
    yield from _of_adapters(config)
    yield from _of_scalar_head(config)


def _of_lengths(config: SftConfig) -> Iterator[str]:
    if config.num_epochs is not None and config.max_steps is not None:
        yield (
            f"num_epochs: {config.num_epochs:g} and max_steps: {config.max_steps} exclude each "
            "other; leave one out"
        )
    if config.warmup_steps is not None and config.warmup_frac is not None:
        yield (
            f"warmup_steps: {config.warmup_steps} and warmup_frac: {config.warmup_frac:g} exclude "
            "each other; leave one out"
        )


def _of_data(config: SftConfig) -> Iterator[str]:
    if config.is_toy_data and config.num_rows is None:
        yield f"num_rows: {config.data} has no end; say how many rows, e.g. num_rows: 300"
    if config.is_toy_data and (config.split or config.columns):
        yield f"split and columns are of files; {config.data} has none"
    if not isinstance(config.data, str):
        yield from _of_sources(config)
    if config.packing and config.domains:
        yield "packing and domains exclude each other: a packed row has no domain of its own"
    if config.domains and config.domains.column is None and len(config.sources) < 2:
        yield "domains.column: name the column with a row's domain, or give two sources or more"


def _of_sources(config: SftConfig) -> Iterator[str]:
    if not config.sources:
        yield "data: an empty list; give one source at least"
    if config.split or config.columns:
        yield "split and columns: write them into the sources of data, each has its own"
    weighted = [source.weight is not None for source in config.sources]
    if any(weighted) and not all(weighted):
        yield "data: either every source has a weight or none has"
    if config.num_rows and not any(weighted) and len(config.sources) > 1:
        yield "num_rows: of a mixture it needs a weight for each source (or num_rows in each)"


def _of_optimizer(config: SftConfig) -> Iterator[str]:
    if config.optimizer == "muon" and config.matrix_lr is None:
        yield "matrix_lr: optimizer muon needs it, e.g. matrix_lr: 2.0e-2"
    if config.optimizer == "adamw_8bit" and config.matrix_lr is not None:
        yield "matrix_lr: is Muon's; leave it out with optimizer adamw_8bit"
    if config.uses_muon and (config.deepspeed.zero_stage or 0) > 0:
        yield (
            f"deepspeed.zero_stage: {config.deepspeed.zero_stage} flattens the matrices that Muon "
            "needs whole; take zero_stage 0 or optimizer adamw"
        )


def _of_deepspeed(config: SftConfig) -> Iterator[str]:
    section, stage = config.deepspeed, config.deepspeed.zero_stage
    if section.offload_param and stage != 3:
        yield (
            f"deepspeed.offload_param: true is valid with zero_stage 3 only (it is {stage}); leave "
            "it out or take zero_stage 3"
        )
    if section.offload_optimizer and not stage:
        yield (
            "deepspeed.offload_optimizer: true needs zero_stage 1, 2 or 3 "
            f"(it is {'null' if stage is None else stage})"
        )
    if stage is None and config.num_ranks > 1:
        yield f"num_ranks: {config.num_ranks} needs DeepSpeed; take deepspeed.zero_stage 0 to 3"
    if stage == 0 and config.dtype == "bfloat16":
        yield (
            "deepspeed.zero_stage: with dtype bfloat16 take 1, 2 or 3, where gradients add up in "
            "float32; or dtype float32, which computes in bfloat16 on a GPU all the same"
        )


def _of_adapters(config: SftConfig) -> Iterator[str]:
    if config.load_in_4bit and config.lora is None:
        yield "load_in_4bit: true needs adapters, for 4-bit weights cannot be trained; add lora: {}"
    if config.load_in_4bit and config.deepspeed.zero_stage is not None:
        yield "load_in_4bit: true goes without DeepSpeed; set deepspeed.zero_stage: null"
    if config.lora is not None and config.model in ("toy", "toy_small"):
        yield "lora: model toy is a new model; adapters need one that has learned something"
    if config.lora is not None and config.uses_muon:
        yield "lora: goes with optimizer adamw or adamw_8bit, not with muon"


def _of_scalar_head(config: SftConfig) -> Iterator[str]:
    if config.head == "lm":
        return
    refused = {
        "distill": config.distill,
        "label_smoothing": config.label_smoothing,
        "packing": config.packing,
        "domains": config.domains,
        "lora": config.lora,
        "load_in_4bit": config.load_in_4bit,
        "resume_from": config.resume_from,
        "matrix_lr": config.matrix_lr,
    }
    for key, value in refused.items():
        if value:
            yield f"{key}: is not for head scalar; leave it out"
    if config.is_toy_data:
        yield f"data: {config.data} has no preferences; head scalar needs chosen and rejected"
