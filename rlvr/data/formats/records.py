"""One record of each form: how an Exchange is written as one, and read from one.

    alpaca     {"instruction", "input", "output", "system", "history": [[asked, replied], ...]}
    sharegpt   {"conversations": [{"from": "human" | "gpt", "value"}, ...], "system"}
    messages   {"messages": [{"role": "user" | "assistant" | "system", "content"}, ...]}

The forms are those of LLaMA-Factory's data/README.md: the prompt of alpaca is instruction and input
with a line break between them, and a thought stands in the output in its tags.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.data.formats.exchanges import Exchange, UnreadableRecord, split_thought

__all__ = ["FORMATS", "Format", "format_of", "read_turns"]

Record = Mapping[str, Any]

_ROLES = {
    "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant",
    "assistant": "assistant", "model": "assistant", "system": "system",
}  # fmt: skip
_THOUGHT_KEYS = ("reasoning_content", "thinking", "reasoning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One form of a record."""

    needs: frozenset[str]  # keys by which it is known
    write: Callable[[Exchange], dict[str, Any]]
    read: Callable[[Record], Exchange]  # raises UnreadableRecord
    dataset_info: Mapping[str, Any]  # of LLaMA-Factory's entry, beside the file's name


def format_of(record: Record) -> str | None:
    """The name of the first form whose keys a record has; None: of none."""
    return next((name for name, one in FORMATS.items() if one.needs <= record.keys()), None)


def write_alpaca(exchange: Exchange) -> dict[str, Any]:
    """Keys that have nothing to say are empty, so that all records have the same."""
    return {
        "instruction": exchange.prompt,
        "input": "",
        "output": exchange.reply,
        "system": exchange.system or "",
        "history": [list(turn) for turn in exchange.history],
    }


def read_alpaca(record: Record) -> Exchange:
    """Raises UnreadableRecord."""
    parts = [_text(record, "instruction"), _text(record, "input", default="")]
    thought, content = split_thought(_text(record, "output"))
    return Exchange(
        prompt="\n".join(part for part in parts if part),
        thought=thought,
        content=content,
        system=_text(record, "system", default="") or None,
        history=tuple((str(user), str(reply)) for user, reply in record.get("history") or []),
    )


def write_sharegpt(exchange: Exchange) -> dict[str, Any]:
    """A system text has a key of its own."""
    turns = [turn for turn in exchange.turns if turn[0] != "system"]
    said = [{"from": "human" if role == "user" else "gpt", "value": text} for role, text in turns]
    return {"conversations": said, "system": exchange.system or ""}


def read_sharegpt(record: Record) -> Exchange:
    """Raises UnreadableRecord."""
    system = _text(record, "system", default="")
    turns = read_turns(record["conversations"], role_key="from", text_key="value")
    return _of_turns([("system", system), *turns] if system else turns)


def write_messages(exchange: Exchange) -> dict[str, Any]:
    """OpenAI's form, the thought in the content."""
    return {"messages": [{"role": role, "content": text} for role, text in exchange.turns]}


def read_messages(record: Record) -> Exchange:
    """The thought may stand in the content or apart. Raises UnreadableRecord."""
    messages = record["messages"]
    exchange = _of_turns(read_turns(messages, role_key="role", text_key="content"))
    thought = next((messages[-1][key] for key in _THOUGHT_KEYS if messages[-1].get(key)), None)
    if thought is None:
        return exchange
    if exchange.thought is not None:
        raise UnreadableRecord("the reply has two thoughts")
    turns = [(role, text) for role, text in exchange.turns]
    return Exchange.of_turns(turns, thought=str(thought))


def read_turns(
    said: Any, *, role_key: str, text_key: str, roles: Mapping[str, str] = _ROLES
) -> list[tuple[str, str]]:
    """(role, text) of each message. Raises UnreadableRecord: a role or a text that is none."""
    if not isinstance(said, Sequence) or isinstance(said, str):
        raise UnreadableRecord("the conversation is no list of messages")
    turns = []
    for message in said:
        role = roles.get(str(message.get(role_key)))
        text = message.get(text_key)
        if role is None or not isinstance(text, str):
            raise UnreadableRecord(f"a message has {role_key} {message.get(role_key)!r} or no text")
        turns.append((role, text))
    return turns


def _of_turns(turns: Sequence[tuple[str, str]]) -> Exchange:
    if not turns or turns[-1][0] != "assistant":
        raise UnreadableRecord("the last turn is not the assistant's")
    thought, content = split_thought(turns[-1][1])
    return Exchange.of_turns([*turns[:-1], ("assistant", content)], thought=thought)


def _text(record: Record, key: str, *, default: str | None = None) -> str:
    value = record.get(key)
    value = default if value is None else value
    if not isinstance(value, str):
        raise UnreadableRecord(f"{key} is {'null' if value is None else 'no text'}")
    return value


FORMATS: dict[str, Format] = {
    "sharegpt": Format(
        needs=frozenset({"conversations"}),
        write=write_sharegpt,
        read=read_sharegpt,
        dataset_info={
            "formatting": "sharegpt",
            "columns": {"messages": "conversations", "system": "system"},
        },
    ),
    "messages": Format(
        needs=frozenset({"messages"}),
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
        needs=frozenset({"instruction", "output"}),
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
