"""Presets of model families (presets.yaml): template, thinking switch, sampling.

preset_of("Qwen/Qwen3-8B").overrides  ->  ["prompt.template=chat", ...] for `rlvr eval`
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from rlvr.config.sections import Section
from rlvr.errors import ConfigError

__all__ = ["Preset", "known_models", "preset_of"]


class Preset(Section):
    """A family of models."""

    name: str
    match: str = Field(description="pattern of whole names on the Hugging Face hub")
    kind: Literal["base", "chat", "reasoning"]
    template: Literal["chat", "r1_zero", "plain"]
    prefill: str
    answer_style: Literal["zero", "r1"]
    thinking: Literal["always", "never", "switch", "prompted"] = Field(
        description="switch: by chat template arguments; prompted: by the prompt"
    )
    thinking_on: Mapping[str, Any] = Field({}, description="chat template arguments with reasoning")
    thinking_off: Mapping[str, Any] = Field({}, description="and without")
    reasoning_parser: str | None = Field(None, description="of `vllm serve`; null: none")
    temperature: float
    top_p: float
    system: bool = Field(description="whether a system message is recommended")

    @property
    def overrides(self) -> list[str]:
        """Overrides for `rlvr eval RECIPE ...`."""
        return [
            f"prompt.template={self.template}",
            f"prompt.prefill={yaml.safe_dump(self.prefill, default_style=chr(34)).strip()}",
            f"prompt.answer_style={self.answer_style}",
            f"rollout.temperature={self.temperature:g}",
            f"rollout.top_p={self.top_p:g}",
        ]


def preset_of(model: str) -> Preset:
    """Return the preset of a model by its name on the hub. Raises ConfigError if there is none."""
    families = [Preset.model_validate(family) for family in _load()["families"]]
    for preset in families:
        if re.fullmatch(preset.match, model):
            return preset
    names = ", ".join(preset.name for preset in families)
    raise ConfigError(
        f"model.path: no preset for {model!r}; known are {names}; set prompt and rollout in the "
        "recipe"
    )


def known_models() -> tuple[str, ...]:
    """Return the names on the hub that presets.yaml lists."""
    return tuple(_load()["models"])


@cache
def _load() -> dict[str, Any]:
    text = Path(__file__).with_name("presets.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return data
