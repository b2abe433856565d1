"""Convert one sample to and from a record of each format.

    alpaca     {"instruction", "input", "output", "system", "history": [[question, reply], ...]}
    sharegpt   {"conversations": [{"from": "human" | "gpt", "value"}, ...], "system"}
    messages   {"messages": [{"role": "user" | "assistant" | "system", "content"}, ...]}

The formats are those of LLaMA-Factory's data/README.md: an alpaca prompt is instruction and input
joined by a line break, and replies include their reasoning in <think> tags.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from rlvr.data.reasoning_tags import read_message
from rlvr.data.rows import UnreadableRow
from rlvr.run.run_folder import write_json, write_text

__all__ = [
    "FORMATS",
    "INDEX_FILE",
    "Exchange",
    "Format",
    "join_reply",
    "split_reply",
    "write_exports",
]

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
    """A conversation whose last reply is learned. Raises UnreadableRow for other turns."""

    turns: Turns  # user and assistant in turn, after at most one system turn; no reasoning
    thought: str | None  # reasoning of the last reply; None: none

    def __post_init__(self) -> None:
        roles = [role for role, _ in self.chat]
        if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
            raise UnreadableRow("the turns do not alternate between user and assistant")

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Exchange:
        """Convert a sample; its prompt is text or chat messages."""
        prompt = row["prompt"]
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        turns = [(str(message["role"]), str(message["content"])) for message in messages]
        reply = ("assistant", row["content"])
        return cls(turns=[*turns, reply], thought=row.get("reasoning_content"))

    @property
    def system(self) -> str:
        """The system text; "" if there is none."""
        role, text = self.turns[0]
        return text if role == "system" else ""

    @property
    def chat(self) -> list[tuple[str, str]]:
        """All turns but the system turn, the last reply with its reasoning."""
        *turns, (role, content) = self.turns
        if turns and turns[0][0] == "system":
            del turns[0]
        return [*turns, (role, join_reply(self.thought, content))]

    @property
    def row(self) -> dict[str, Any]:
        """The columns of a sample; the prompt is text if there is no earlier turn."""
        *turns, (_, content) = self.turns
        messages = [{"role": role, "content": text} for role, text in turns]
        prompt = turns[0][1] if len(turns) == 1 else messages
        return {"prompt": prompt, "reasoning_content": self.thought, "content": content}


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

    Raises UnreadableRow: the reasoning never ends, or there is more than one.
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
    texts = [text for _, text in exchange.chat]
    return {
        "instruction": texts[-2],
        "input": "",
        "output": texts[-1],
        "system": exchange.system,
        "history": [list(pair) for pair in zip(texts[:-2:2], texts[1:-2:2], strict=True)],
    }


def read_alpaca(record: Record) -> Exchange:
    turns = [("system", system)] if (system := _text(record, "system", default="")) else []
    for question, reply in record.get("history") or []:
        turns += [("user", str(question)), ("assistant", str(reply))]
    parts = [_text(record, "instruction"), _text(record, "input", default="")]
    turns.append(("user", "\n".join(part for part in parts if part)))
    return _of_turns([*turns, ("assistant", _text(record, "output"))])


def write_sharegpt(exchange: Exchange) -> dict[str, Any]:
    names = {"user": "human", "assistant": "gpt"}
    turns = [{"from": names[role], "value": text} for role, text in exchange.chat]
    return {"conversations": turns, "system": exchange.system}


def read_sharegpt(record: Record) -> Exchange:
    system = _text(record, "system", default="")
    turns = _read_turns(record["conversations"], role_key="from", text_key="value")
    return _of_turns([("system", system), *turns] if system else turns)


def write_messages(exchange: Exchange) -> dict[str, Any]:
    turns = [*exchange.turns[:-1], exchange.chat[-1]]
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


def read_messages(record: Record) -> Exchange:
    """The reasoning is in the content or in a key of its own."""
    messages = record["messages"]
    exchange = _of_turns(_read_turns(messages, role_key="role", text_key="content"))
    thought = next((messages[-1][key] for key in _REASONING_KEYS if messages[-1].get(key)), None)
    if thought is None:
        return exchange
    if exchange.thought is not None:
        raise UnreadableRow("the reply has reasoning in its content and in a key of its own")
    return Exchange(turns=exchange.turns, thought=str(thought))


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
    return Exchange(turns=[*turns[:-1], ("assistant", content)], thought=thought)


def _text(record: Record, key: str, *, default: str | None = None) -> str:
    value = default if record.get(key) is None else record[key]
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
            "tags": {f"{t}_tag": t for t in ("role", "content", "user", "assistant", "system")},
        },
    ),
    "alpaca": Format(
        keys=frozenset({"instruction", "output"}),
        write=write_alpaca,
        read=read_alpaca,
        dataset_info={
            "columns": {"prompt": "instruction", "query": "input", "response": "output"}
            | {"system": "system", "history": "history"}
        },
    ),
}


def write_exports(
    folder: Path, rows: Sequence[Mapping[str, Any]], *, name: str, formats: Sequence[str]
) -> list[Path]:
    """Write rows of prompt, reasoning_content and content in each format; return the files."""
    if not formats:
        return []
    exchanges = [Exchange.of_row(row) for row in rows]
    paths, entries = [], {}
    for one in formats:
        path = folder / f"{name}_{one}.json"
        records = [FORMATS[one].write(exchange) for exchange in exchanges]
        write_text(path, json.dumps(records, indent=2, ensure_ascii=False) + "\n")
        entries[path.stem] = {"file_name": path.name, **FORMATS[one].dataset_info}
        paths.append(path)
    index, recipe = folder / INDEX_FILE, folder / f"{name}_sft.yaml"
    write_json(index, entries)
    template = files("rlvr.data.formats").joinpath("llamafactory_sft.yaml").read_text("utf-8")
    write_text(recipe, template.replace("{dataset}", paths[0].stem))
    return [*paths, index, recipe]
