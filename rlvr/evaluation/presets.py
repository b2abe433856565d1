"""What is known of families of models: template, thinking switch, sampling (presets.yaml).

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
    """One family of models."""

    name: str
    match: str = Field(description="pattern that the whole name on the hub matches")
    kind: Literal["base", "chat", "reasoning"]
    template: Literal["chat", "r1_zero", "plain"] = Field(description="prompt.template")
    prefill: str = Field(description="prompt.prefill")
    answer_style: Literal["zero", "r1"] = Field(description="prompt.answer_style")
    thinking: Literal["always", "never", "switch", "prompted"] = Field(
        description="whether it thinks; switch: by chat template arguments, prompted: asked to"
    )
    thinking_on: Mapping[str, Any] = Field({}, description="chat template arguments for a thought")
    thinking_off: Mapping[str, Any] = Field({}, description="and for none")
    reasoning_parser: str | None = Field(None, description="of `vllm serve`; null: none is needed")
    temperature: float
    top_p: float
    system: bool = Field(description="whether a system message does it good")

    @property
    def overrides(self) -> list[str]:
        """For `rlvr eval RECIPE ...`: how this family is asked."""
        return [
            f"prompt.template={self.template}",
            f"prompt.prefill={yaml.safe_dump(self.prefill, default_style=chr(34)).strip()}",
            f"prompt.answer_style={self.answer_style}",
            f"rollout.temperature={self.temperature:g}",
            f"rollout.top_p={self.top_p:g}",
        ]


def preset_of(model: str) -> Preset:
    """The family that a name on the hub belongs to.

    Raises:
        ConfigError: it is of none that is known.
    """
    for preset in _families():
        if re.fullmatch(preset.match, model):
            return preset
    raise ConfigError(
        f"model.path: no preset for {model!r}; known are "
        + ", ".join(preset.name for preset in _families())
        + "; set prompt and rollout in the recipe"
    )


@cache
def known_models() -> tuple[str, ...]:
    """Names on the hub that the file lists."""
    return tuple(_file()["models"])


@cache
def _families() -> tuple[Preset, ...]:
    return tuple(Preset.model_validate(family) for family in _file()["families"])


@cache
def _file() -> dict[str, Any]:
    path = Path(__file__).with_name("presets.yaml")
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found
