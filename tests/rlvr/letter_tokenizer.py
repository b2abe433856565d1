"""A tokenizer in plain Python, whose lengths can be counted by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["LetterTokenizer"]


class LetterTokenizer:
    """One token a letter; its text begins with <s> (1) and, if asked for, ends with </s> (2)."""

    bos_token = "<s>"
    eos_token_id = 2

    def __init__(self, *, chat_template: str | None = "yes", adds_eos: bool = False) -> None:
        self.chat_template = chat_template
        self.adds_eos = adds_eos

    def __call__(
        self, text: str | Sequence[str], *, add_special_tokens: bool
    ) -> dict[str, list[list[int]]]:
        return {"input_ids": [self._ids(one, add_special_tokens) for one in text]}

    def _ids(self, text: str, add_special_tokens: bool) -> list[int]:
        ids = [1] * text.startswith("<s>") + [ord(letter) for letter in text.removeprefix("<s>")]
        return [1, *ids, *[2] * self.adds_eos] if add_special_tokens else ids

    def apply_chat_template(
        self, conversation: Any, *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        assert not tokenize and add_generation_prompt
        turns = [f"[{message['role']}]{message['content']}" for message in conversation]
        return "<s>" + "".join(turns) + "[assistant]"
