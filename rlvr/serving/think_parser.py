"""Reasoning parsers for vLLM that find the tags in the text.

vLLM's server loads this module (`--reasoning-parser-plugin rlvr.serving.think_parser`).
`think_text` is for completions with `<think>`, `think_text_open` for prompts that end in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from vllm.reasoning import ReasoningParser, ReasoningParserManager
from vllm.reasoning.basic_parsers import DeltaMessage  # defined elsewhere in some versions

from rlvr.serving.thought_stream import ThoughtSplitter, joined, split_thought

__all__ = ["OpenThinkTextParser", "ThinkTextParser"]


@ReasoningParserManager.register_module("think_text")
class ThinkTextParser(ReasoningParser):
    """Parser of one completion.

    Text before a `</think>` without `<think>` is reasoning in a whole reply; in a stream it has
    been sent as answer by the time that the tag arrives.
    """

    think_prefilled = False

    def __init__(self, tokenizer: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(tokenizer, *args, **kwargs)
        self._splitter = ThoughtSplitter(think_prefilled=self.think_prefilled)

    def extract_reasoning(self, model_output: str, request: Any) -> tuple[str | None, str | None]:
        """Split a whole reply."""
        thought, answer = split_thought(model_output, think_prefilled=self.think_prefilled)
        return thought, answer or None

    def extract_reasoning_streaming(
        self,
        previous_text: str,
        current_text: str,
        delta_text: str,
        previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int],
        delta_token_ids: Sequence[int],
    ) -> Any:
        """Split the next piece of a stream."""
        thought, answer = joined(self._splitter.feed(delta_text))
        if thought or answer:
            return DeltaMessage(reasoning=thought or None, content=answer or None)
        return None

    def get_streaming_fallback_content(self, text: str, request: Any) -> str:
        """Return the text that was held back at the end of a stream."""
        return "".join(piece.text for piece in self._splitter.finish())

    def is_reasoning_end(self, input_ids: Sequence[int]) -> bool:
        """Always False: token ids do not show it, so the parser gets the whole stream."""
        return False

    def is_reasoning_end_streaming(
        self, input_ids: Sequence[int], delta_ids: Iterable[int]
    ) -> bool:
        """Always False, as above."""
        return False

    def extract_content_ids(self, input_ids: list[int]) -> list[int]:
        """Always empty, as above."""
        return []


@ReasoningParserManager.register_module("think_text_open")
class OpenThinkTextParser(ThinkTextParser):
    """The prompt ends in `<think>`, and the completion begins inside the thought."""

    think_prefilled = True
