"""Training of a language model on one rank: rows, memory check, models, and TRL's arguments."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlvr.data.model_files import resolve_model
from rlvr.errors import ConfigError
from rlvr.run.run_folder import RunFolder, read_json, write_json
from rlvr.stages.sft.dataset import TokenData, count_warnings, make_data
from rlvr.stages.sft.sft_config import DeepSpeedSection, SftConfig
from rlvr.stages.sft.sft_plan import SftPlan
from rlvr.stages.sft.training_memory import check_training_memory

__all__ = [
    "add_counts",
    "deepspeed_config",
    "load_tokenizer",
    "make_trainer",
    "train_language_model",
    "training_arguments",
]

logger = logging.getLogger(__name__)


def train_language_model(plan: SftPlan, folder: RunFolder, *, rank: int) -> None:
    """Train and leave model/ or adapter/ and summary.json. Raises RLVRError, or Stopped."""
    from rlvr.stages.sft.trainer_run import train_and_save

    tokenizer = load_tokenizer(plan)
    data = make_data(plan, tokenizer, folder.path / "tokens" / str(rank))
    counts = data.counts
    if rank == 0:
        add_counts(folder, asdict(counts))
        for line in count_warnings(counts, plan):
            print(f"warning: {line}", flush=True)
    row_tokens = plan.config.max_tokens if plan.config.packing else counts.longest_tokens
    check_training_memory(plan, row_tokens=row_tokens, free_bytes=_free_bytes(plan))
    trainer = make_trainer(plan, data, tokenizer, output_dir=folder.checkpoints)
    summary = {key: getattr(counts, key) for key in ("num_rows", "thought_frac", "num_tokens")}
    result = folder.path / "adapter" if plan.config.lora else folder.model
    train_and_save(trainer, plan, folder, result=result, summary=summary, is_main=rank == 0)


def load_tokenizer(plan: SftPlan) -> Any:
    """Load the tokenizer with the recipe's end token. Raises ConfigError if there is none."""
    if plan.is_new:
        from rlvr.toy.toy_model import make_tokenizer

        return make_tokenizer(seed=plan.config.seed)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        plan.weights, trust_remote_code=plan.config.trust_remote_code
    )
    eos_token = plan.config.eos_token
    if eos_token is not None:
        if eos_token not in tokenizer.get_vocab():
            raise ConfigError(f"eos_token: {eos_token!r} is not a token of {plan.weights}")
        tokenizer.eos_token = eos_token
    if tokenizer.eos_token is None:
        raise ConfigError(f"eos_token: the tokenizer of {plan.weights} has none; set one")
    return tokenizer


def make_trainer(plan: SftPlan, data: TokenData, tokenizer: Any, *, output_dir: Path) -> Any:
    """Create TRL's trainer over the rows, with the model loaded."""
    from peft import LoraConfig
    from transformers import PrinterCallback
    from trl import SFTConfig as TrlConfig

    from rlvr.stages.sft.trainer import RecipeTrainer

    # before the model is loaded: ZeRO-3 shards its weights while they load
    arguments = TrlConfig(
        **training_arguments(plan, output_dir=output_dir),
        packing=plan.config.packing,
        dataset_kwargs={"skip_prepare_dataset": not plan.config.packing},  # rows are tokenized
    )
    model = _load_model(plan, tokenizer)
    has_flat_rows = plan.is_cpu and _use_cpu_layers(model)
    lora = plan.config.lora
    lora_config = None
    if lora is not None and plan.adapter is None:  # a loaded adapter is trained further
        lora_config = LoraConfig(
            task_type="CAUSAL_LM",
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            bias=lora.bias,
            target_modules=list(lora.targets),
            layers_to_transform=lora.layers_to_transform,
            use_rslora=lora.rslora,
        )
    trainer = RecipeTrainer(
        plan=plan,
        domains=data.domains,
        teacher=_load_teacher(plan, tokenizer, device=arguments.device),
        has_flat_rows=has_flat_rows,
        model=model,
        args=arguments,
        train_dataset=data.dataset,
        processing_class=tokenizer,
        peft_config=lora_config,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def training_arguments(plan: SftPlan, *, output_dir: Path) -> dict[str, Any]:
    """Return the keyword arguments that SFTTrainer and RewardTrainer share."""
    config = plan.config
    is_bfloat16 = config.dtype == "bfloat16"
    return {
        "output_dir": str(output_dir),
        "seed": config.seed,
        "use_cpu": plan.is_cpu,
        # float32 weights compute in bfloat16 on a GPU; DeepSpeed computes in the weights' type
        "bf16": not plan.is_cpu if config.deepspeed.zero_stage is None else is_bfloat16,
        "max_length": config.max_tokens,
        **_schedule(config),
        "per_device_train_batch_size": plan.rank_batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation,
        "optim": _optimizer(plan),
        "learning_rate": config.lr,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "gradient_checkpointing": plan.gradient_checkpointing,
        "save_strategy": "steps",
        "save_steps": config.checkpoint.every_steps,
        "report_to": "none",
        "logging_steps": config.log_steps,
        "disable_tqdm": True,
        "dataloader_pin_memory": not plan.is_cpu,
        "ddp_backend": "gloo" if plan.is_cpu and plan.num_ranks > 1 else None,
        "ddp_find_unused_parameters": False,
        "deepspeed": deepspeed_config(config.deepspeed, dtype=config.dtype),
        "eos_token": config.eos_token,
    }


def deepspeed_config(section: DeepSpeedSection, *, dtype: str) -> dict[str, Any] | None:
    """Return the DeepSpeed configuration, or None to train without DeepSpeed.

    In bfloat16 the gradients of accumulated batches add up in float32 (ZeRO 1 and up).
    """
    if section.zero_stage is None:
        return None
    zero: dict[str, Any] = {"stage": section.zero_stage}
    for key in ("offload_optimizer", "offload_param"):
        if getattr(section, key):
            zero[key] = {"device": "cpu"}
    if section.zero_stage == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    return {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": dtype == "bfloat16"},
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }


def add_counts(folder: RunFolder, counts: Mapping[str, Any]) -> None:
    """Add the counts of the rows to the manifest."""
    write_json(folder.manifest, {**read_json(folder.manifest), "counts": dict(counts)})


def _load_model(plan: SftPlan, tokenizer: Any) -> Any:
    """Load a causal language model, with the adapter of an earlier run if the plan has one."""
    if plan.is_new:
        from rlvr.toy.toy_model import SIZES, make_model

        return make_model(tokenizer, seed=plan.config.seed, **SIZES[plan.weights])
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        plan.weights,
        dtype=getattr(torch, plan.config.dtype),
        trust_remote_code=plan.config.trust_remote_code,
        quantization_config=_four_bit(plan),
    )
    if plan.adapter is None:
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, plan.adapter, is_trainable=True)


def _use_cpu_layers(model: Any) -> bool:
    """Convert layers to those that are faster on a CPU; return whether rows may be flat."""
    from peft import PeftModel

    from rlvr.learner.cpu_linear import use_onednn
    from rlvr.learner.cpu_norm import use_cpu_norms
    from rlvr.learner.packed_attention import use_packed_attention

    use_onednn(model)
    use_cpu_norms(model)
    return use_packed_attention(model.get_base_model() if isinstance(model, PeftModel) else model)


def _load_teacher(plan: SftPlan, tokenizer: Any, *, device: Any) -> Any:
    """Load the model to distill from, or None. Raises ConfigError if its tokenizer differs."""
    if plan.config.distill is None:
        return None
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path, trust = resolve_model(plan.config.distill.model), plan.config.trust_remote_code
    vocabulary = AutoTokenizer.from_pretrained(path, trust_remote_code=trust).get_vocab()
    if vocabulary != tokenizer.get_vocab():
        raise ConfigError(
            f"distill.model: {path} has another tokenizer than {plan.weights}; logits can "
            "be learned only from a teacher with the same one; use `rlvr distill` for others"
        )
    teacher = AutoModelForCausalLM.from_pretrained(
        path, dtype=getattr(torch, plan.config.dtype), trust_remote_code=trust
    )
    return teacher.to(device).eval().requires_grad_(False)


def _four_bit(plan: SftPlan) -> Any:
    """Return NF4 with double quantization (QLoRA, arXiv 2305.14314), or None for 16 or 32 bit."""
    if not plan.config.load_in_4bit:
        return None
    if plan.is_cpu:
        raise ConfigError(
            "load_in_4bit: true needs an NVIDIA GPU, and this machine has none; set "
            "load_in_4bit: false to train the adapters over 16- or 32-bit weights"
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError("load_in_4bit: bitsandbytes is not installed; `pip install bitsandbytes`")
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def _schedule(config: SftConfig) -> dict[str, Any]:
    warmup_steps = 5 if config.warmup_steps is None else config.warmup_steps
    is_constant = config.lr_schedule == "constant"
    schedule: dict[str, Any] = {
        "num_train_epochs": 1.0 if config.num_epochs is None else config.num_epochs,
        "max_steps": -1 if config.max_steps is None else config.max_steps,
        # transformers takes a number below 1 as a fraction of all steps
        "warmup_steps": warmup_steps if config.warmup_frac is None else config.warmup_frac,
        "lr_scheduler_type": "constant_with_warmup" if is_constant else config.lr_schedule,
    }
    if config.lr_schedule == "cosine_with_min_lr":
        schedule["lr_scheduler_kwargs"] = {"min_lr_rate": config.min_lr_frac}
    return schedule


def _optimizer(plan: SftPlan) -> str:
    if plan.config.optimizer != "adamw_8bit":
        return "adamw_torch"  # for muon too, which RecipeTrainer creates
    if plan.is_cpu:
        logger.warning("optimizer: adamw_8bit needs a GPU; using plain adamw")
        return "adamw_torch"
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError("optimizer: adamw_8bit: bitsandbytes is not installed; use adamw")
    return "adamw_bnb_8bit"


def _free_bytes(plan: SftPlan) -> int:
    if plan.is_cpu:
        import psutil

        return int(psutil.virtual_memory().available)
    import torch

    return int(torch.cuda.mem_get_info()[0])
