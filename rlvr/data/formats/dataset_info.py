"""LLaMA-Factory's index of a folder of data sets: dataset_info.json, {name: entry}.

    entry   {"file_name", "formatting": "alpaca" | "sharegpt", "columns": {...}, "tags": {...}}

Read: an entry's columns and tags are put in the place of the form's own names, so that a record of
any entry becomes one of ours. Source: data/README.md of hiyouga/LLaMA-Factory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlvr.data.rows import Row, read_rows
from rlvr.errors import ConfigError

__all__ = ["FILE_NAME", "rows_of_folder"]

FILE_NAME = "dataset_info.json"

_ALPACA = {
    "prompt": "instruction",
    "query": "input",
    "response": "output",
    "system": "system",
    "history": "history",
}
_TAGS = {
    "role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt",
    "system_tag": "system",
}  # fmt: skip


def rows_of_folder(folder: Path, name: str | None, *, section: str) -> Iterator[Row]:
    """The records of one data set, with the keys of its form. Raises ConfigError."""
    entry = _entry(folder / FILE_NAME, name, section=section)
    if "file_name" not in entry:
        raise ConfigError(f"{folder / FILE_NAME}: {name}: only entries with a file_name are read")
    rename = _sharegpt if entry.get("formatting") == "sharegpt" else _alpaca
    for row in read_rows(str(folder / entry["file_name"]), split=None, section=section):
        yield Row(number=row.number, where=row.where, values=rename(row.values, entry))


def _entry(index: Path, name: str | None, *, section: str) -> Mapping[str, Any]:
    try:
        entries = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{index}: cannot be read: {error}") from None
    if name is None and len(entries) == 1:
        [name] = entries
    if name not in entries:
        raise ConfigError(
            f"{section}: {index} has no data set {name!r}; it has {', '.join(entries)}; "
            f"give FOLDER#NAME"
        )
    return dict(entries[name])


def _alpaca(record: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    columns = {**_ALPACA, **entry.get("columns", {})}
    return {ours: record.get(columns[theirs]) for theirs, ours in _ALPACA.items()}


def _sharegpt(record: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    columns, tags = entry.get("columns", {}), {**_TAGS, **entry.get("tags", {})}
    roles = {tags["user_tag"]: "human", tags["assistant_tag"]: "gpt", tags["system_tag"]: "system"}
    said = [
        {
            "from": roles.get(message.get(tags["role_tag"]), message.get(tags["role_tag"])),
            "value": message.get(tags["content_tag"]),
        }
        for message in record.get(columns.get("messages", "conversations")) or []
    ]
    return {"conversations": said, "system": record.get(columns.get("system", "system"))}
