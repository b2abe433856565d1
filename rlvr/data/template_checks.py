"""Check a prompt template against the tokenizer that reads it."""

from __future__ import annotations

import logging
import re

from rewards.transcript import OPEN_THINK
from rlvr.data.model_files import model_json
from rlvr.data.prompts import TemplateEncoder
from rlvr.errors import ConfigError
from rlvr.types import Task

__all__ = ["check_template", "split_markers"]

logger = logging.getLogger(__name__)

MARKER = re.compile(r"<\|[^|<>\s]{1,40}\|>")  # <|im_start|>


def check_template(encoder: TemplateEncoder, task: Task, *, model: str) -> None:
    """Check the prompt of one task; log a warning for markers that are no tokens.

    model: folder or hub name of the model. Raises ConfigError: the reasoning is opened twice, the
    prompt is empty, or its tokens are not in the model's vocabulary.
    """
    _check_opened_once(encoder, task)
    (ids,) = encoder.template.encode_texts(encoder.tokenizer, [encoder.text(task)])
    if not ids:
        raise ConfigError(f"prompt.template: the prompt of task {task.id} has no tokens")
    vocab_size = model_json(model, "config.json").get("vocab_size")
    if isinstance(vocab_size, int) and max(ids) >= vocab_size:
        raise ConfigError(
            f"model.path: the tokenizer of {model} does not belong to its weights: a prompt has "
            f"token {max(ids)}, and the weights have {vocab_size} tokens"
        )
    if split := split_markers(encoder):
        logger.warning(
            "prompt.template: %s, no token of this model but split into several",
            ", ".join(f"{marker} is {num_tokens} tokens" for marker, num_tokens in split.items()),
        )


def split_markers(encoder: TemplateEncoder) -> dict[str, int]:
    """Return the markers of a text template, like <|im_start|>, that are several tokens each.

    A chat template belongs to its tokenizer; those of some models contain such markers.
    """
    text = encoder.template.text
    if text is None:
        return {}
    found = dict.fromkeys(MARKER.findall(text + encoder.template.prefill))
    lengths = {marker: len(encoder.completion_ids(marker)) for marker in found}
    return {marker: length for marker, length in lengths.items() if length > 1}


def _check_opened_once(encoder: TemplateEncoder, task: Task) -> None:
    prefill = encoder.template.prefill
    before = encoder.text(task).removesuffix(prefill)
    if before.rstrip().endswith(OPEN_THINK) and prefill.lstrip().startswith(OPEN_THINK):
        raise ConfigError(
            f"prompt.prefill: {prefill!r} opens {OPEN_THINK} a second time, the template has done "
            "it already; leave it out"
        )
