"""The tokenizer and the models of a run: the one to train, with adapters, and the teacher."""

from __future__ import annotations

import importlib.util
from typing import Any

from rlvr.errors import ConfigError
from rlvr.stages.sft.sft_config import LoraSection
from rlvr.stages.sft.sft_plan import SftPlan

__all__ = ["load_model", "load_teacher", "load_tokenizer", "make_lora"]


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


def load_model(plan: SftPlan, tokenizer: Any) -> Any:
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


def load_teacher(plan: SftPlan, tokenizer: Any, *, device: Any) -> Any:
    """Load the model to distill from, or None. Raises ConfigError if its tokenizer differs."""
    if plan.config.distill is None:
        return None
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path, trust = plan.config.distill.model, plan.config.trust_remote_code
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


def make_lora(section: LoraSection) -> Any:
    """Return peft's configuration, without LoftQ."""
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        r=section.r,
        lora_alpha=section.alpha,
        lora_dropout=section.dropout,
        bias=section.bias,
        target_modules=list(section.targets),
        layers_to_transform=section.layers_to_transform,
        use_rslora=section.rslora,
    )


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
