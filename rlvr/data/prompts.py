r"""Render tasks as the text and the tokens that an engine reads.

    Task.prompt --render--> text --encode--> int32[P]      "User: What is 2+3? Assistant:"

A template may end inside the reasoning ("...<think>"): the completion then begins there, and the
format reward needs to know (`think_prefilled`). The gold completions that the preflight grades are
rendered here too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rewards.transcript import CLOSE_THINK, OPEN_THINK
from rlvr.errors import ConfigError
from rlvr.types import Prompt, Task

__all__ = [
    "PRESETS",
    "GoldStyle",
    "PromptTemplate",
    "RenderedPrompt",
    "TemplateEncoder",
    "Tokenizer",
    "fill_placeholders",
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

# {{name}} is a literal {name}; other braces, as in \boxed{}, are literal too
_PLACEHOLDER = re.compile(r"\{\{(?P<literal>\w+)\}\}|\{(?P<name>[A-Za-z_]\w*)\}(?P<dot>\.?)")
_SENTENCE_END = re.compile(r"[.?!:;…。？！：；][\s\"'”’)\]*$\\]*$")  # noqa: RUF001
_FIELD = re.compile(r"\\[A-Za-z]+\{[^{}]*\}|\{\{(?P<literal>\w+)\}\}|\{(?P<name>[A-Za-z_]\w*)\}")


class Tokenizer(Protocol):
    """The parts of a Hugging Face tokenizer that are used here."""

    chat_template: Any
    bos_token: str | None
    eos_token_id: int | None

    def __call__(
        self, text: str | Sequence[str], *, add_special_tokens: bool
    ) -> Mapping[str, Any]: ...

    def apply_chat_template(
        self, conversation: Any, *, tokenize: bool, add_generation_prompt: bool
    ) -> Any: ...


class GoldStyle(StrEnum):
    """The form of a gold completion; the profiles of `think_format`."""

    ZERO = "zero"  # <think>...</think> <answer>\boxed{42}</answer>
    R1 = "r1"  # <think>...</think> \boxed{42}


class RenderedPrompt(NamedTuple):
    """The text of a prompt for the engine."""

    text: str
    think_prefilled: bool  # the completion begins inside the reasoning


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTemplate:
    """Text around a task's prompt, or the tokenizer's own chat template; see make_template."""

    text: str | None  # with {prompt}; None: the tokenizer's chat template
    system: str | None = None  # for a chat template, unless the task has a system message
    prefill: str = ""  # appended to the prompt: the first words of the assistant

    def render(self, task: Task, *, tokenizer: Tokenizer | None = None) -> RenderedPrompt:
        """Return the text for the engine; a chat template needs the tokenizer.

        Raises ConfigError: a conversation in a text template, or no usable chat template.
        """
        if self.text is None:
            assert tokenizer is not None, "a chat template belongs to a tokenizer"
            text = _chat_text(tokenizer, task.prompt, system=self.system)
        else:
            text = _fill(self.text, prompt=_single_text(task))
        text += self.prefill
        is_open = self.prefill.rfind(OPEN_THINK) > self.prefill.rfind(CLOSE_THINK)
        is_open = is_open or text.rstrip().endswith(OPEN_THINK)
        return RenderedPrompt(text, is_open)

    def encode(
        self, tokenizer: Tokenizer, task: Task, *, max_prompt_tokens: int
    ) -> NDArray[np.int32]:
        """Return token ids int32[P] with at most one begin-of-sequence token, and none at the end.

        Raises ConfigError: P is over max_prompt_tokens.
        """
        text = self.render(task, tokenizer=tokenizer).text
        (ids,) = self.encode_texts(tokenizer, [text])
        if len(ids) > max_prompt_tokens:
            raise ConfigError(
                f"prompt: task {task.id} has {len(ids)} prompt tokens, over max_prompt_tokens="
                f"{max_prompt_tokens}; raise it or leave the task out"
            )
        return np.asarray(ids, dtype=np.int32)

    def encode_texts(self, tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of rendered prompts."""
        # a chat template contains its special tokens
        bos = tokenizer.bos_token
        is_complete = [self.text is None or bool(bos and text.startswith(bos)) for text in texts]
        encoded: dict[int, list[int]] = {}
        for flag in set(is_complete):
            indices = [i for i, complete in enumerate(is_complete) if complete is flag]
            found = tokenizer([texts[i] for i in indices], add_special_tokens=not flag)["input_ids"]
            encoded |= zip(indices, map(list, found), strict=True)
        if self.text is not None:
            for ids in encoded.values():
                if ids and ids[-1] == tokenizer.eos_token_id:
                    ids.pop()  # some tokenizers end every text
        return [encoded[i] for i in range(len(texts))]


@dataclass(slots=True)
class TemplateEncoder:
    """A template with its tokenizer; a PromptEncoder for rollouts, a TextEncoder for checks."""

    template: PromptTemplate
    tokenizer: Any
    max_prompt_tokens: int
    think_prefilled: bool = False

    def encode(self, task: Task) -> NDArray[np.int32]:
        """Return the token ids of the prompt, [P]."""
        return self.template.encode(self.tokenizer, task, max_prompt_tokens=self.max_prompt_tokens)

    def text(self, task: Task) -> str:
        """Return the rendered prompt."""
        return self.template.render(task, tokenizer=self.tokenizer).text

    def prompt_lengths(self, tasks: Sequence[Task]) -> list[int]:
        """Return the number of tokens of each prompt, at any length."""
        texts = [self.text(task) for task in tasks]
        return [len(ids) for ids in self.template.encode_texts(self.tokenizer, texts)]

    def completion_ids(self, text: str) -> NDArray[np.int32]:
        """Return token ids without special tokens, [T]."""
        return np.asarray(self.tokenizer(text, add_special_tokens=False)["input_ids"], np.int32)


def make_template(
    template: str, *, system: str | None = None, prefill: str = "", key: str = "prompt.template"
) -> PromptTemplate:
    """Return a template by the name of its preset, "chat", or as text with {prompt} in it.

    Raises ConfigError: no {prompt}, another placeholder, or a system text without a chat template.
    """
    if template == CHAT:
        return PromptTemplate(text=None, system=system, prefill=prefill)
    if system is not None:
        raise ConfigError(
            f"{key}: a system message requires prompt.template=chat; write it into the template "
            "itself"
        )
    text = PRESETS.get(template, template)
    names = [match["name"] for match in _PLACEHOLDER.finditer(text) if match["name"]]
    if unknown := next((name for name in names if name != "prompt"), None):
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
    return PromptTemplate(text=text, prefill=prefill)


def render_gold(answer: str, *, think_prefilled: bool, style: GoldStyle = GoldStyle.ZERO) -> str:
    r"""Return a completion with full reward: "<think>...</think>\n<answer>\boxed{5}</answer>".

    With think_prefilled, `<think>` is part of the prompt.
    """
    return _gold_completion(rf"\boxed{{{answer}}}", think_prefilled=think_prefilled, style=style)


def render_program(code: str, *, think_prefilled: bool, style: GoldStyle = GoldStyle.ZERO) -> str:
    """Return a completion as of `render_gold`, with a fenced program as the answer."""
    block = f"\n```\n{code.strip()}\n```\n"
    return _gold_completion(block, think_prefilled=think_prefilled, style=style)


def _gold_completion(answer: str, *, think_prefilled: bool, style: GoldStyle) -> str:
    opening = "" if think_prefilled else OPEN_THINK
    is_zero = style is GoldStyle.ZERO
    closing = f"<answer>{answer}</answer>" if is_zero else f"\n{answer.strip()}"
    return f"{opening}\nThis is how it can be worked out.\n{CLOSE_THINK}\n{closing}"


def fill_placeholders(template: str, values: Mapping[str, Any], *, where: str, key: str) -> str:
    r"""Return the template with its {name} placeholders filled in by unchanged values.

    {{name}} is a literal {name}. Other braces are literal, and so is the argument of a LaTeX
    command, as in \boxed{answer}.

    Raises ConfigError: a value is missing; names the row (`where`) and the template's `key`.
    """

    def replace(match: re.Match[str]) -> str:
        if match["literal"]:
            return f"{{{match['literal']}}}"
        if match["name"] is None:
            return match[0]
        value = values.get(match["name"])
        if value is None:
            found = ", ".join(name for name, one in values.items() if one is not None) or "none"
            raise ConfigError(
                f"{where}: has no {match['name']!r} for the {{{match['name']}}} of {key}; "
                f"it has {found}"
            )
        return str(value)

    return _FIELD.sub(replace, template)


def _fill(template: str, *, prompt: str) -> str:
    """Drop the dot of R1's "{prompt}." after a prompt that ends in a mark of its own."""

    def replace(match: re.Match[str]) -> str:
        if match["literal"]:
            return f"{{{match['literal']}}}"
        return prompt if _SENTENCE_END.search(prompt) else prompt + match["dot"]

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


def _chat_text(tokenizer: Tokenizer, prompt: Prompt, *, system: str | None) -> str:
    from jinja2.exceptions import TemplateError

    if not tokenizer.chat_template:
        raise ConfigError(
            "prompt.template: the model's tokenizer has no chat template; "
            "use r1_zero, plain, or a text with {prompt}"
        )
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    if system is not None and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    try:
        options = {"tokenize": False, "add_generation_prompt": True}
        return str(tokenizer.apply_chat_template(messages, **options))
    except TemplateError as error:  # Gemma's, for one, refuses a system message
        raise ConfigError(f"prompt.template: the chat template refuses: {error}") from error
