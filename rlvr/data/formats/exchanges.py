"""A trace row as a conversation whose last reply is to be learned, and its thought in tags or
apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.data.chat_messages import read_message

__all__ = ["Exchange", "UnreadableRecord", "join_thought", "split_thought"]

# as LLaMA-Factory writes thoughts, and DeepSeek-R1 with its own template
_BEFORE, _BEHIND = "<think>\n", "\n</think>\n\n"


class UnreadableRecord(ValueError):
    """A record has its columns, but no trace can be made of what they hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """`Exchange(prompt="2+3?", thought="2 and 3 make 5", content="5")`."""

    prompt: str  # the last thing that was asked
    thought: str | None  # None: there is none
    content: str
    system: str | None = None
    history: tuple[tuple[str, str], ...] = ()  # what was asked and replied before

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Exchange:
        """Of a trace row; its prompt is text or chat messages. Raises UnreadableRecord."""
        prompt, thought, content = row["prompt"], row.get("reasoning_content"), row["content"]
        if isinstance(prompt, str):
            return cls(prompt=prompt, thought=thought, content=content)
        turns = [(str(message["role"]), str(message["content"])) for message in prompt]
        return cls.of_turns([*turns, ("assistant", content)], thought=thought)

    @classmethod
    def of_turns(cls, turns: Sequence[tuple[str, str]], *, thought: str | None) -> Exchange:
        """Of (role, text), the last of them the assistant's, without its thought."""
        has_system = bool(turns) and turns[0][0] == "system"
        said = turns[1:] if has_system else turns
        expected = ["user", "assistant"] * (len(said) // 2)
        if not said or [role for role, _ in said] != expected:
            raise UnreadableRecord("the turns are not user and assistant in turn")
        texts = [text for _, text in said]
        return cls(
            prompt=texts[-2],
            thought=thought,
            content=texts[-1],
            system=turns[0][1] if has_system else None,
            history=tuple(zip(texts[:-2:2], texts[1:-2:2], strict=True)),
        )

    @property
    def reply(self) -> str:
        """Thought and content as one text."""
        return join_thought(self.thought, self.content)

    @property
    def turns(self) -> list[tuple[str, str]]:
        """(role, text) of all that was said, the reply with its thought."""
        before = [("system", self.system)] if self.system is not None else []
        past = [
            turn for user, reply in self.history for turn in (("user", user), ("assistant", reply))
        ]
        return [*before, *past, ("user", self.prompt), ("assistant", self.reply)]

    @property
    def row(self) -> dict[str, Any]:
        """The columns of a trace row; the prompt is text where nothing was said before."""
        messages = [{"role": role, "content": text} for role, text in self.turns[:-1]]
        prompt = self.prompt if len(messages) == 1 else messages
        return {"prompt": prompt, "reasoning_content": self.thought, "content": self.content}


def join_thought(thought: str | None, content: str) -> str:
    r"""One text, in DeepSeek-R1's form: "<think>\nthought\n</think>\n\ncontent"."""
    return content if thought is None else f"{_BEFORE}{thought}{_BEHIND}{content}"


def split_thought(text: str) -> tuple[str | None, str]:
    """Thought and content; exactly what was joined, else without white space around them.

    Raises UnreadableRecord: the thought never ends, or there are two.
    """
    if text.startswith(_BEFORE) and text.count("<think>") == text.count("</think>") == 1:
        thought, mark, content = text.removeprefix(_BEFORE).partition(_BEHIND)
        if mark:
            return thought, content
    if "<think>" not in text and "</think>" not in text:
        return None, text
    answer = read_message({"content": text}, None)
    if answer.problem is not None and answer.reasoning_content != "":
        raise UnreadableRecord(answer.problem)
    return answer.reasoning_content, answer.content
