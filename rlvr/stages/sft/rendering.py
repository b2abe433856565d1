"""The text of a row as the model sees it: the prompt exactly as at inference, then the answer.

prompt + completion + end    the inference prompt is always the beginning of the training text

Chat templates drop thoughts from the assistant's turns (R1-Distill's everything before </think>,
Qwen3's the older ones), so the answer never goes through one: it is put behind the rendered prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rlvr.data.prompts import PromptTemplate, Tokenizer
from rlvr.errors import ConfigError
from rlvr.stages.sft.examples import CLOSE_THINK, OPEN_THINK, Example, thought_of
from rlvr.types import Task

__all__ = ["EMPTY_THOUGHT", "RenderedRow", "end_of_turn", "render_row"]

EMPTY_THOUGHT = "<think>\n\n</think>\n\n"  # as Qwen3 writes it where it is not to think


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedRow:
    """`prompt` is None where all of the text is learned."""

    prompt: Task | None  # for PromptTemplate.encode, which gives an engine's tokens
    prompt_text: str
    completion: str
    has_thought: bool
    think_prefilled: bool = False


def render_row(
    example: Example, template: PromptTemplate, tokenizer: Tokenizer, *, no_thought: str
) -> RenderedRow:
    """Raises ConfigError (file:row) where a prompt opens a thought and the row has none."""
    if example.prompt is None:
        has_thought = bool(thought_of(example.completion))
        return RenderedRow(
            prompt=None, prompt_text="", completion=example.completion, has_thought=has_thought
        )
    task = Task(id=example.where, prompt=example.prompt)
    prompt = template.render(task, tokenizer=tokenizer)
    is_closed = CLOSE_THINK in example.completion or OPEN_THINK in example.completion
    has_thought = bool(thought_of(example.completion))
    completion = example.completion
    if not is_closed and no_thought == "empty_block":
        completion = EMPTY_THOUGHT + completion
    elif not is_closed and prompt.think_prefilled:
        raise ConfigError(
            f"{example.where}: the prompt opens a thought and the row has none; set "
            "no_thought: empty_block, or leave the <think> out of the prompt"
        )
    if prompt.think_prefilled:
        completion = _behind_open_thought(completion, prompt.text)
    elif CLOSE_THINK in completion and OPEN_THINK not in completion:
        completion = f"{OPEN_THINK}\n{completion}"  # was written behind a prompt that opened it
    return RenderedRow(
        prompt=task,
        prompt_text=prompt.text,
        completion=completion,
        has_thought=has_thought,
        think_prefilled=prompt.think_prefilled,
    )


def end_of_turn(template: PromptTemplate, tokenizer: Any) -> str | None:
    """What a chat template puts behind an answer, where it is not the end that is learned.

    A base model's tokenizer ends texts with <|endoftext|>, its chat template turns with <|im_end|>.
    """
    if template.text is not None or not tokenizer.chat_template:
        return None
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=False)
    end = str(text).rpartition("answer")[2].strip()
    return end if end and tokenizer.eos_token not in end else None


def _behind_open_thought(completion: str, prompt: str) -> str:
    """Without the tag that stands at the prompt's end, and without a second line break."""
    begun = completion.lstrip()
    if not begun.startswith(OPEN_THINK):
        return completion
    inside = begun.removeprefix(OPEN_THINK)
    return inside.removeprefix("\n") if prompt.endswith("\n") else inside
