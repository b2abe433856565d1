"""An example as token ids and labels: the prompt exactly as at inference, then the completion.

Example --render--> prompt text + completion --encode--> ids, labels
    ids     [ prompt ......... | completion ........ eos ]
    labels  [ -100 ........... | completion ........ eos ]    one end token, as the last label

Chat templates drop reasoning from the assistant's turns (R1-Distill's everything before </think>,
Qwen3's that of older turns), so the completion is appended to the rendered prompt instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rewards.transcript import CLOSE_THINK, OPEN_THINK
from rlvr.data.prompts import PromptTemplate
from rlvr.errors import ConfigError
from rlvr.stages.sft.examples import Example, reasoning_of
from rlvr.stages.sft.sft_plan import SftPlan
from rlvr.types import Task

__all__ = ["IGNORED", "Fate", "RenderedRow", "RowEncoder", "TokenRow", "end_of_turn"]

EMPTY_REASONING = "<think>\n\n</think>\n\n"  # as Qwen3 writes it in non-thinking mode
IGNORED = -100  # torch's ignore_index


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedRow:
    """A row as text."""

    prompt: Task | None = None  # for PromptTemplate.encode; None: plain text, learned as a whole
    prompt_text: str = ""
    completion: str
    has_thought: bool = False
    think_prefilled: bool = False


class Fate(StrEnum):
    """Use of a row."""

    WHOLE = "whole"
    CUT = "cut"  # after max_tokens, without its end token
    TOO_LONG = "too_long"  # dropped: over max_tokens, by drops_long or with no label left
    EMPTY = "empty"  # dropped: nothing to learn


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """Ids and labels of one row, both of length T (0 if dropped); IGNORED is not learned."""

    input_ids: list[int]
    labels: list[int]
    fate: Fate


@dataclass(frozen=True, slots=True)
class RowEncoder:
    """Renders and tokenizes the rows of a plan."""

    plan: SftPlan
    tokenizer: Any

    def render(self, example: Example) -> RenderedRow:
        """Render the prompt and fit the completion to it.

        Raises ConfigError (file:line) if the prompt opens <think> and the row has no reasoning.
        """
        completion = example.completion
        has_thought = bool(reasoning_of(completion))
        if example.prompt is None:
            return RenderedRow(completion=completion, has_thought=has_thought)
        task = Task(id=example.where, prompt=example.prompt)
        prompt = self.plan.template.render(task, tokenizer=self.tokenizer)
        if CLOSE_THINK not in completion and OPEN_THINK not in completion:
            if self.plan.config.no_thought == "empty_block":
                completion = EMPTY_REASONING + completion
            elif prompt.think_prefilled:
                raise ConfigError(
                    f"{example.where}: the prompt opens <think> and the row has no reasoning; set "
                    "no_thought: empty_block, or remove <think> from the prompt"
                )
        if prompt.think_prefilled:
            completion = _after_open_think(completion, prompt.text)
        elif CLOSE_THINK in completion and OPEN_THINK not in completion:
            completion = f"{OPEN_THINK}\n{completion}"  # generated from a prompt that opened it
        return RenderedRow(
            prompt=task,
            prompt_text=prompt.text,
            completion=completion,
            has_thought=has_thought,
            think_prefilled=prompt.think_prefilled,
        )

    def encode(self, row: RenderedRow) -> TokenRow:
        """Tokenize a row."""
        config = self.plan.config
        completion = self._without_end(row.completion)
        if not completion.strip():
            return TokenRow(input_ids=[], labels=[], fate=Fate.EMPTY)
        prompt_ids, ids = self._ids(row, completion)
        ids.append(self.tokenizer.eos_token_id)
        num_ignored = 0 if config.learn_prompt else len(prompt_ids)
        is_long = len(ids) > config.max_tokens
        if is_long and (config.too_long == "drop" or num_ignored >= config.max_tokens):
            return TokenRow(input_ids=[], labels=[], fate=Fate.TOO_LONG)
        labels = [IGNORED] * num_ignored + ids[num_ignored:]
        return TokenRow(
            input_ids=ids[: config.max_tokens],
            labels=labels[: config.max_tokens],
            fate=Fate.CUT if is_long else Fate.WHOLE,
        )

    def _without_end(self, text: str) -> str:
        """Strip end tokens from the text, so that the end is learned only once."""
        eos = self.tokenizer.eos_token
        while text.rstrip().endswith(eos):
            text = text.rstrip().removesuffix(eos)
        return text

    def _ids(self, row: RenderedRow, completion: str) -> tuple[list[int], list[int]]:
        """Return the ids of the prompt, and those of both without an end token.

        Both are tokenized as one text, as in TRL. If tokens merge across the boundary, the
        completion is tokenized separately, since an engine's prompt ends there.
        """
        tokenizer = self.tokenizer
        if row.prompt is None:
            return [], self._without_end_token(tokenizer(completion)["input_ids"])
        prompt_ids = self.plan.template.encode(
            tokenizer, row.prompt, max_prompt_tokens=10**9
        ).tolist()
        text = row.prompt_text + completion
        starts_with_bos = bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token)
        has_special_tokens = self.plan.template.text is None or starts_with_bos
        ids = self._without_end_token(
            tokenizer(text, add_special_tokens=not has_special_tokens)["input_ids"]
        )
        if ids[: len(prompt_ids)] == prompt_ids:
            return prompt_ids, ids
        completion_ids = tokenizer(completion, add_special_tokens=False)["input_ids"]
        return prompt_ids, [*prompt_ids, *self._without_end_token(completion_ids)]

    def _without_end_token(self, ids: list[int]) -> list[int]:
        """Strip end tokens, which some tokenizers add to every text."""
        ids = list(ids)
        while ids and ids[-1] == self.tokenizer.eos_token_id:
            ids.pop()
        return ids


def end_of_turn(template: PromptTemplate, tokenizer: Any) -> str | None:
    """Return the end of turn of the chat template if it is not the end token that is learned.

    A base model's tokenizer ends texts with <|endoftext|>, its chat template turns with <|im_end|>.
    """
    if template.text is not None or not tokenizer.chat_template:
        return None
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=False)
    end = str(text).rpartition("answer")[2].strip()
    return end if end and tokenizer.eos_token not in end else None


def _after_open_think(completion: str, prompt: str) -> str:
    """Remove the <think> that the prompt already has, and a second line break."""
    text = completion.lstrip()
    if not text.startswith(OPEN_THINK):
        return completion
    inside = text.removeprefix(OPEN_THINK)
    return inside.removeprefix("\n") if prompt.endswith("\n") else inside
