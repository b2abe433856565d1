"""Convert one sample to and from a record of each format.

    alpaca     {"instruction", "input", "output", "system", "history": [[question, reply], ...]}
    sharegpt   {"conversations": [{"from": "human" | "gpt", "value"}, ...], "system"}
    messages   {"messages": [{"role": "user" | "assistant" | "system", "content"}, ...]}

The formats are those of LLaMA-Factory's data/README.md: an alpaca prompt is instruction and input
joined by a line break, and replies include their reasoning in <think> tags.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.data.reasoning_tags import read_message
from rlvr.data.rows import UnreadableRow

__all__ = ["FORMATS", "INDEX_FILE", "Exchange", "Format", "join_reply", "split_reply"]

INDEX_FILE = "dataset_info.json"  # LLaMA-Factory's index of a folder of data sets

Record = Mapping[str, Any]
Turns = Sequence[tuple[str, str]]  # (role, text)

# as LLaMA-Factory writes reasoning, and DeepSeek-R1 with its own template
_OPENING, _CLOSING = "<think>\n", "\n</think>\n\n"
_ROLES = {
    "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant",
    "assistant": "assistant", "model": "assistant", "system": "system",
}  # fmt: skip
_REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A conversation whose last reply is learned: `Exchange(prompt="2+3?", thought=None, ...)`."""

    prompt: str  # the last user turn
    thought: str | None  # reasoning of the reply; None: none
    content: str  # the reply without its reasoning
    system: str | None = None
    history: tuple[tuple[str, str], ...] = ()  # earlier (question, reply) pairs

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Exchange:
        """Convert a sample; its prompt is text or chat messages. Raises UnreadableRow."""
        prompt, thought, content = row["prompt"], row.get("reasoning_content"), row["content"]
        if isinstance(prompt, str):
            return cls(prompt=prompt, thought=thought, content=content)
        turns = [(str(message["role"]), str(message["content"])) for message in prompt]
        return cls.of_turns([*turns, ("assistant", content)], thought=thought)

    @classmethod
    def of_turns(cls, turns: Turns, *, thought: str | None) -> Exchange:
        """Convert turns, of which the last is the reply without its reasoning."""
        has_system = bool(turns) and turns[0][0] == "system"
        chat = turns[1:] if has_system else turns
        if not chat or [role for role, _ in chat] != ["user", "assistant"] * (len(chat) // 2):
            raise UnreadableRow("the turns do not alternate between user and assistant")
        texts = [text for _, text in chat]
        return cls(
            prompt=texts[-2],
            thought=thought,
            content=texts[-1],
            system=turns[0][1] if has_system else None,
            history=tuple(zip(texts[:-2:2], texts[1:-2:2], strict=True)),
        )

    @property
    def turns(self) -> list[tuple[str, str]]:
        """All turns, the reply with its reasoning."""
        turns = [("system", self.system)] if self.system is not None else []
        reply = join_reply(self.thought, self.content)
        for question, answer in [*self.history, (self.prompt, reply)]:
            turns += [("user", question), ("assistant", answer)]
        return turns

    @property
    def row(self) -> dict[str, Any]:
        """The columns of a sample; the prompt is text if there is no earlier turn."""
        messages = [{"role": role, "content": text} for role, text in self.turns[:-1]]
        prompt = self.prompt if len(messages) == 1 else messages
        return {"prompt": prompt, "reasoning_content": self.thought, "content": self.content}


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """Conversions of one record format."""

    keys: frozenset[str]  # those that identify the format
    write: Callable[[Exchange], dict[str, Any]]
    read: Callable[[Record], Exchange]  # raises UnreadableRow
    dataset_info: Mapping[str, Any]  # LLaMA-Factory's entry, without the file's name


def join_reply(thought: str | None, content: str) -> str:
    r"""Return one text in DeepSeek-R1's form: "<think>\nthought\n</think>\n\ncontent"."""
    return content if thought is None else f"{_OPENING}{thought}{_CLOSING}{content}"


def split_reply(text: str) -> tuple[str | None, str]:
    """Return reasoning and answer: exactly the arguments of `join_reply`, else stripped.

    Raises:
        UnreadableRow: the reasoning never ends, or there is more than one.
    """
    if text.startswith(_OPENING) and text.count("<think>") == text.count("</think>") == 1:
        thought, mark, content = text.removeprefix(_OPENING).partition(_CLOSING)
        if mark:
            return thought, content
    if "<think>" not in text and "</think>" not in text:
        return None, text
    reply = read_message({"content": text}, None)
    if reply.problem is not None and reply.reasoning_content != "":
        raise UnreadableRow(reply.problem)
    return reply.reasoning_content, reply.content


def write_alpaca(exchange: Exchange) -> dict[str, Any]:
    """Every record has all keys."""
    return {
        "instruction": exchange.prompt,
        "input": "",
        "output": exchange.turns[-1][1],
        "system": exchange.system or "",
        "history": [list(pair) for pair in exchange.history],
    }


def read_alpaca(record: Record) -> Exchange:
    parts = [_text(record, "instruction"), _text(record, "input", default="")]
    thought, content = split_reply(_text(record, "output"))
    return Exchange(
        prompt="\n".join(part for part in parts if part),
        thought=thought,
        content=content,
        system=_text(record, "system", default="") or None,
        history=tuple((str(user), str(reply)) for user, reply in record.get("history") or []),
    )


def write_sharegpt(exchange: Exchange) -> dict[str, Any]:
    """The system text has a key of its own."""
    turns = [
        {"from": "human" if role == "user" else "gpt", "value": text}
        for role, text in exchange.turns
        if role != "system"
    ]
    return {"conversations": turns, "system": exchange.system or ""}


def read_sharegpt(record: Record) -> Exchange:
    system = _text(record, "system", default="")
    turns = _read_turns(record["conversations"], role_key="from", text_key="value")
    return _of_turns([("system", system), *turns] if system else turns)


def write_messages(exchange: Exchange) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in exchange.turns]}


def read_messages(record: Record) -> Exchange:
    """The reasoning is in the content or in a key of its own."""
    messages = record["messages"]
    exchange = _of_turns(_read_turns(messages, role_key="role", text_key="content"))
    thought = next((messages[-1][key] for key in _REASONING_KEYS if messages[-1].get(key)), None)
    if thought is None:
        return exchange
    if exchange.thought is not None:
        raise UnreadableRow("the reply has reasoning in its content and in a key of its own")
    return Exchange.of_turns(exchange.turns, thought=str(thought))


def _read_turns(messages: Any, *, role_key: str, text_key: str) -> list[tuple[str, str]]:
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        raise UnreadableRow("the conversation is no list of messages")
    turns = []
    for message in messages:
        role, text = _ROLES.get(str(message.get(role_key))), message.get(text_key)
        if role is None or not isinstance(text, str):
            raise UnreadableRow(f"a message has {role_key} {message.get(role_key)!r} or no text")
        turns.append((role, text))
    return turns


def _of_turns(turns: Turns) -> Exchange:
    if not turns or turns[-1][0] != "assistant":
        raise UnreadableRow("the last turn is not the assistant's")
    thought, content = split_reply(turns[-1][1])
    return Exchange.of_turns([*turns[:-1], ("assistant", content)], thought=thought)


def _text(record: Record, key: str, *, default: str | None = None) -> str:
    value = record.get(key)
    value = default if value is None else value
    if not isinstance(value, str):
        raise UnreadableRow(f"{key} is {'null' if value is None else 'no text'}")
    return value


FORMATS: dict[str, Format] = {
    "sharegpt": Format(
        keys=frozenset({"conversations"}),
        write=write_sharegpt,
        read=read_sharegpt,
        dataset_info={
            "formatting": "sharegpt",
            "columns": {"messages": "conversations", "system": "system"},
        },
    ),
    "messages": Format(
        keys=frozenset({"messages"}),
        write=write_messages,
        read=read_messages,
        dataset_info={
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
                "system_tag": "system",
            },
        },
    ),
    "alpaca": Format(
        keys=frozenset({"instruction", "output"}),
        write=write_alpaca,
        read=read_alpaca,
        dataset_info={
            "columns": {
                "prompt": "instruction",
                "query": "input",
                "response": "output",
                "system": "system",
                "history": "history",
            },
        },
    ),
}
