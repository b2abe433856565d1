"""What is trained: a new toy model, a model from a folder, one in 4 bit, adapters on top of it."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.data.model_files import check_model
from rlvr.errors import ConfigError
from rlvr.stages.sft.sft_config import LoraSection, SftConfig

__all__ = ["Start", "check_start", "load_model", "load_tokenizer", "make_lora", "start_of"]

TOY_MODELS = ("toy", "toy_small")  # sizes of rlvr.toy.toy_model
SAME_KEYS = {"r": "r", "alpha": "lora_alpha", "rslora": "use_rslora"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where the weights come from: `Start(weights="Qwen/Qwen3-8B", adapter="runs/a/adapter")`."""

    weights: str
    adapter: str | None = None

    @property
    def files(self) -> dict[str, str]:
        """For the manifest."""
        adapter = {} if self.adapter is None else {"resume_from": self.adapter}
        return adapter if self.weights in TOY_MODELS else {"model": self.weights, **adapter}


def start_of(config: SftConfig) -> Start:
    """The model, or what an earlier run made of it. Raises ConfigError."""
    if config.resume_from is None:
        return Start(weights=config.model)
    folder = Path(config.resume_from)
    for path in (folder / "adapter", folder / "model", folder):
        if (path / "adapter_config.json").exists():
            return Start(weights=config.model, adapter=str(path))
        if (path / "config.json").exists():
            return Start(weights=str(path))
    raise ConfigError(
        f"resume_from: {folder} has neither an adapter nor a model; give the folder of a finished "
        "`rlvr sft`"
    )


def check_start(config: SftConfig) -> None:
    """Raises ConfigError where model, adapter or teacher are not what they should be."""
    start = start_of(config)
    if start.weights not in TOY_MODELS:
        check_model(start.weights, key="model" if config.resume_from is None else "resume_from")
    if start.adapter is not None:
        _check_adapter(Path(start.adapter), config)
    if config.distill is not None:
        check_model(config.distill.model, key="distill.model")


def load_tokenizer(config: SftConfig) -> Any:
    """With the recipe's end token."""
    if config.model in TOY_MODELS:
        from rlvr.toy.toy_tokenizer import make_tokenizer

        return make_tokenizer(seed=config.seed)
    from transformers import AutoTokenizer

    start = start_of(config)
    tokenizer = AutoTokenizer.from_pretrained(
        start.weights, trust_remote_code=config.trust_remote_code
    )
    if config.eos_token is not None:
        if config.eos_token not in tokenizer.get_vocab():
            raise ConfigError(f"eos_token: {config.eos_token!r} is no token of {start.weights}")
        tokenizer.eos_token = config.eos_token
    if tokenizer.eos_token is None:
        raise ConfigError(f"eos_token: the tokenizer of {start.weights} names none; give one")
    return tokenizer


def load_model(config: SftConfig, tokenizer: Any, *, is_cpu: bool) -> Any:
    """A causal model, with the adapter of an earlier run where there is one."""
    if config.model in TOY_MODELS:
        from rlvr.toy.toy_model import SIZES, make_model

        return make_model(tokenizer, seed=config.seed, **SIZES[config.model])
    import torch
    from transformers import AutoModelForCausalLM

    start = start_of(config)
    model = AutoModelForCausalLM.from_pretrained(
        start.weights,
        dtype=getattr(torch, config.dtype),
        trust_remote_code=config.trust_remote_code,
        quantization_config=_four_bit(config, is_cpu=is_cpu),
    )
    if start.adapter is None:
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, start.adapter, is_trainable=True)


def make_lora(section: LoraSection, *, head: str = "CAUSAL_LM") -> Any:
    """peft's configuration; LoftQ is off."""
    from peft import LoraConfig

    return LoraConfig(
        task_type=head,
        r=section.r,
        lora_alpha=section.alpha,
        lora_dropout=section.dropout,
        bias=section.bias,
        target_modules=list(section.targets),
        layers_to_transform=section.layers_to_transform,
        use_rslora=section.rslora,
    )


def _four_bit(config: SftConfig, *, is_cpu: bool) -> Any:
    """NF4 with double quantization (QLoRA, arXiv 2305.14314); None for 16 or 32 bit."""
    if not config.load_in_4bit:
        return None
    if is_cpu:
        raise ConfigError(
            "load_in_4bit: true needs an NVIDIA GPU, and there is none here; set "
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


def _check_adapter(adapter: Path, config: SftConfig) -> None:
    if config.lora is None:
        raise ConfigError(f"resume_from: {adapter} is an adapter; add lora: {{}} to train it on")
    before = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    for key, name in SAME_KEYS.items():
        now = getattr(config.lora, key)
        if before.get(name) != now:
            raise ConfigError(
                f"lora.{key}: {now} is not what {adapter} was made with ({before.get(name)})"
            )
    base = before.get("base_model_name_or_path")
    if base and Path(base).resolve() != Path(config.model).resolve():
        raise ConfigError(f"model: {config.model}; the adapter in {adapter} belongs to {base}")
