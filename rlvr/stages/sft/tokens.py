"""From a rendered row to token ids and labels: the prompt's own tokens, then what is learned.

ids     [ prompt ......... | completion ........ end ]
labels  [ -100 ........... | completion ........ end ]    the end once, and as the last label
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rlvr.data.prompts import PromptTemplate
from rlvr.stages.sft.rendering import RenderedRow

__all__ = ["IGNORED", "Fate", "RowEncoder", "TokenRow"]

IGNORED = -100  # torch's ignore_index


class Fate(StrEnum):
    """What became of a row."""

    WHOLE = "whole"
    CUT = "cut"  # behind max_tokens, without its end
    TOO_LONG = "too_long"  # dropped: too_long is drop, or nothing learned is left of it
    EMPTY = "empty"  # dropped: nothing to learn


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """Ids and labels of one row, each of length T; labels are IGNORED where nothing is learned."""

    input_ids: list[int]
    labels: list[int]
    fate: Fate


@dataclass(frozen=True, slots=True, kw_only=True)
class RowEncoder:
    """A tokenizer with the rules of a recipe."""

    tokenizer: Any
    template: PromptTemplate
    max_tokens: int
    drops_long: bool = False
    learns_prompt: bool = False

    def encode(self, row: RenderedRow) -> TokenRow:
        """Ids and labels; empty ones where the row is dropped."""
        completion = self._without_end(row.completion)
        if not completion.strip():
            return _dropped(Fate.EMPTY)
        prompt_ids, ids = self._ids(row, completion)
        ids.append(self.tokenizer.eos_token_id)
        num_ignored = 0 if self.learns_prompt else len(prompt_ids)
        is_long = len(ids) > self.max_tokens
        if is_long and (self.drops_long or num_ignored >= self.max_tokens):
            return _dropped(Fate.TOO_LONG)
        labels = [IGNORED] * num_ignored + ids[num_ignored:]
        return TokenRow(
            input_ids=ids[: self.max_tokens],
            labels=labels[: self.max_tokens],
            fate=Fate.CUT if is_long else Fate.WHOLE,
        )

    def _without_end(self, text: str) -> str:
        """Text that already ends in the end token would teach it twice."""
        eos = self.tokenizer.eos_token
        while text.rstrip().endswith(eos):
            text = text.rstrip().removesuffix(eos)
        return text

    def _ids(self, row: RenderedRow, completion: str) -> tuple[list[int], list[int]]:
        """The prompt's ids, and those of both without an end token.

        Both are tokenized as one text, as by TRL, but where tokens merge across the seam the
        completion is tokenized apart: an engine's prompt ends at the seam.
        """
        if row.prompt is None:
            return [], self._without_end_token(self.tokenizer(completion)["input_ids"])
        prompt_ids = self.template.encode(
            self.tokenizer, row.prompt, max_prompt_tokens=10**9
        ).tolist()
        text = row.prompt_text + completion
        starts_with_bos = bool(self.tokenizer.bos_token) and text.startswith(
            self.tokenizer.bos_token
        )
        has_special_tokens = self.template.text is None or starts_with_bos
        ids = self.tokenizer(text, add_special_tokens=not has_special_tokens)["input_ids"]
        ids = self._without_end_token(ids)
        if ids[: len(prompt_ids)] == prompt_ids:
            return prompt_ids, ids
        apart = self.tokenizer(completion, add_special_tokens=False)["input_ids"]
        return prompt_ids, [*prompt_ids, *self._without_end_token(apart)]

    def _without_end_token(self, ids: list[int]) -> list[int]:
        """Some tokenizers end every text themselves."""
        ids = list(ids)
        while ids and ids[-1] == self.tokenizer.eos_token_id:
            ids.pop()
        return ids


def _dropped(fate: Fate) -> TokenRow:
    return TokenRow(input_ids=[], labels=[], fate=fate)
