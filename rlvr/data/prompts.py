r"""From a task to the tokens that an engine reads: a template, and what it opens.

    Task.prompt --render--> text --encode--> int32[P]      "User: What is 2+3? Assistant:"

A template may leave the thought open ("...<think>"): the completion then begins inside of it, and
the format reward has to know (`think_prefilled`). The gold that the preflight grades is rendered
here too, so that a template and its gold stay side by side.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rlvr.errors import ConfigError
from rlvr.types import Prompt, Task

__all__ = [
    "PRESETS",
    "GoldStyle",
    "PromptTemplate",
    "RenderedPrompt",
    "Tokenizer",
    "make_template",
    "render_gold",
    "render_program",
]

CHAT = "chat"
PRESETS = {
    # DeepSeek-R1 (arXiv 2501.12948), Table 1; for base models
    "r1_zero": (
        "A conversation between User and Assistant. The user asks a question, and the Assistant "
        "solves it. The assistant first thinks about the reasoning process in the mind and then "
        "provides the user with the answer. The reasoning process and answer are enclosed within "
        "<think> </think> and <answer> </answer> tags, respectively, i.e., <think> reasoning "
        "process here </think> <answer> answer here </answer>. User: {prompt}. Assistant:"
    ),
    "plain": "{prompt}",
}

_OPEN_THINK, _CLOSE_THINK = "<think>", "</think>"
# {{name}} stands for {name}; other braces, as in \boxed{}, stand for themselves
_PLACEHOLDER = re.compile(r"\{\{(?P<literal>\w+)\}\}|\{(?P<name>[A-Za-z_]\w*)\}(?P<dot>\.?)")
_SENTENCE_END = re.compile(r"[.?!:;…。？！：；][\s\"'”’)\]*$\\]*$")  # noqa: RUF001


class Tokenizer(Protocol):
    """What is asked of a Hugging Face tokenizer."""

    @property
    def chat_template(self) -> Any: ...

    @property
    def bos_token(self) -> str | None: ...

    @property
    def eos_token_id(self) -> int | None: ...

    def __call__(self, text: str, *, add_special_tokens: bool) -> Mapping[str, Any]: ...

    def apply_chat_template(
        self, conversation: Any, *, tokenize: bool, add_generation_prompt: bool
    ) -> Any: ...


class GoldStyle(StrEnum):
    """How a right answer is written; the profiles of `think_format`."""

    ZERO = "zero"  # <think>...</think> <answer>\boxed{42}</answer>
    R1 = "r1"  # <think>...</think> \boxed{42}


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedPrompt:
    """A prompt as the engine reads it."""

    text: str
    think_prefilled: bool  # the completion begins inside a thought


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTemplate:
    """Text around a task's prompt, or the tokenizer's own chat template; made by make_template."""

    text: str | None  # with {prompt}; None: the tokenizer's chat template
    system: str | None = None  # for a chat template; a system message of the task's own stands
    prefill: str = ""  # put behind the prompt: the first words of the assistant

    def render(self, task: Task, *, tokenizer: Tokenizer | None = None) -> RenderedPrompt:
        """The text for the engine; a chat template needs the tokenizer. Raises ConfigError."""
        if self.text is None:
            assert tokenizer is not None, "a chat template belongs to a tokenizer"
            text = _apply_chat_template(tokenizer, _messages(task.prompt, system=self.system))
        else:
            text = _fill(self.text, prompt=_single_text(task))
        text += self.prefill
        return RenderedPrompt(
            text=text, think_prefilled=_is_think_prefilled(text, prefill=self.prefill)
        )

    def encode(
        self, tokenizer: Tokenizer, task: Task, *, max_prompt_tokens: int
    ) -> NDArray[np.int32]:
        """Token ids int32[P], with one beginning-of-sequence token at most and no end-of-sequence.

        Raises ConfigError where P is over max_prompt_tokens.
        """
        text = self.render(task, tokenizer=tokenizer).text
        # a chat template writes its special tokens itself
        starts_with_bos = bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token or "")
        has_special_tokens = self.text is None or starts_with_bos
        ids = list(tokenizer(text, add_special_tokens=not has_special_tokens)["input_ids"])
        if self.text is not None and ids and ids[-1] == tokenizer.eos_token_id:
            ids.pop()  # some tokenizers end every text, and a model has nothing to add to that
        if len(ids) > max_prompt_tokens:
            raise ConfigError(
                f"prompt: task {task.id} has {len(ids)} prompt tokens, over max_prompt_tokens="
                f"{max_prompt_tokens}; raise it or leave the task out"
            )
        return np.asarray(ids, dtype=np.int32)

    def check(self, tokenizer: Tokenizer, tasks: Iterable[Task], *, max_prompt_tokens: int) -> None:
        """Encodes all tasks once, so that a long prompt shows before the run and not in it."""
        for task in tasks:
            self.encode(tokenizer, task, max_prompt_tokens=max_prompt_tokens)


def make_template(
    template: str, *, system: str | None = None, prefill: str = "", key: str = "prompt.template"
) -> PromptTemplate:
    """A template by its preset's name, "chat", or as text with {prompt} in it.

    Raises ConfigError: no {prompt}, another placeholder, or a system text without a chat template.
    """
    if template == CHAT:
        return PromptTemplate(text=None, system=system, prefill=prefill)
    if system is not None:
        raise ConfigError(
            f"{key}: a system text goes with template chat only; write it into the template itself"
        )
    text = PRESETS.get(template, template)
    _check_placeholders(text, key=key)
    return PromptTemplate(text=text, prefill=prefill)


def render_gold(answer: str, *, think_prefilled: bool, style: GoldStyle = GoldStyle.ZERO) -> str:
    r"""A completion that must earn full reward: "<think>...</think>\n<answer>\boxed{5}</answer>".

    With think_prefilled its `<think>` is the prompt's, and the completion begins behind it.
    """
    boxed = rf"\boxed{{{answer}}}"
    opening = "" if think_prefilled else _OPEN_THINK
    closing = f"<answer>{boxed}</answer>" if style is GoldStyle.ZERO else f"\n{boxed}"
    return f"{opening}\nThis is how it can be worked out.\n{_CLOSE_THINK}\n{closing}"


def render_program(code: str, *, think_prefilled: bool, style: GoldStyle = GoldStyle.ZERO) -> str:
    """A completion with a program: as `render_gold`, a fenced block in the place of the box."""
    block = f"```\n{code.strip()}\n```"
    opening = "" if think_prefilled else _OPEN_THINK
    closing = f"<answer>\n{block}\n</answer>" if style is GoldStyle.ZERO else f"\n{block}"
    return f"{opening}\nThis is how it can be worked out.\n{_CLOSE_THINK}\n{closing}"


def _check_placeholders(text: str, *, key: str) -> None:
    names = [match["name"] for match in _PLACEHOLDER.finditer(text) if match["name"]]
    unknown = next((name for name in names if name != "prompt"), None)
    if unknown is not None:
        raise ConfigError(
            f"{key}: unknown placeholder {{{unknown}}}; only {{prompt}} is filled in, "
            f"write {{{{{unknown}}}}} for the braces themselves"
        )
    if not names:
        allowed = ", ".join([*sorted(PRESETS), CHAT])
        raise ConfigError(
            f"{key}: {text[:60]!r} has no {{prompt}} in it and is no preset; allowed: {allowed}, "
            "or a text with {prompt}"
        )


def _fill(template: str, *, prompt: str) -> str:
    """R1's "{prompt}." would make "What is 2+3?." of a question: the dot gives way to its mark."""

    def replace(match: re.Match[str]) -> str:
        if match["literal"]:
            return f"{{{match['literal']}}}"
        is_ended = _SENTENCE_END.search(prompt) is not None
        return prompt if is_ended else prompt + match["dot"]

    return _PLACEHOLDER.sub(replace, template)


def _single_text(task: Task) -> str:
    if isinstance(task.prompt, str):
        return task.prompt.strip()
    if len(task.prompt) == 1 and task.prompt[0]["role"] == "user":
        return task.prompt[0]["content"].strip()
    raise ConfigError(
        f"prompt: task {task.id} is a conversation of {len(task.prompt)} messages, "
        "which needs prompt.template=chat"
    )


def _messages(prompt: Prompt, *, system: str | None) -> list[Mapping[str, str]]:
    messages: Sequence[Mapping[str, str]]
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if system is None or messages[0]["role"] == "system":
        return list(messages)
    return [{"role": "system", "content": system}, *messages]


def _apply_chat_template(tokenizer: Tokenizer, messages: list[Mapping[str, str]]) -> str:
    from jinja2.exceptions import TemplateError

    if not tokenizer.chat_template:
        raise ConfigError(
            "prompt.template: the model's tokenizer has no chat template; "
            "use r1_zero, plain, or a text with {prompt}"
        )
    try:
        return str(
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        )
    except TemplateError as error:  # Gemma's, for one, refuses a system message
        raise ConfigError(f"prompt.template: the chat template refuses: {error}") from error


def _is_think_prefilled(text: str, *, prefill: str) -> bool:
    last_opened = prefill.rfind(_OPEN_THINK)
    is_open_in_prefill = last_opened > prefill.rfind(_CLOSE_THINK)
    return is_open_in_prefill or text.rstrip().endswith(_OPEN_THINK)
