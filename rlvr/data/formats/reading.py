"""Read samples from a file in any known format, or from a folder with LLaMA-Factory's index.

The index, {name: {"file_name", "formatting": "alpaca" or "sharegpt", "columns", "tags"}}, renames
the keys of a format by its columns and tags (data/README.md of hiyouga/LLaMA-Factory).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlvr.data.formats.records import FORMATS, INDEX_FILE
from rlvr.data.prompts import fill_placeholders
from rlvr.data.rows import Row, UnreadableRow, read_rows
from rlvr.errors import ConfigError

__all__ = ["read_samples"]

logger = logging.getLogger(__name__)

# other names of a sample's columns, accepted in `columns`
_SYNONYMS = {
    "question": "prompt", "cot": "reasoning_content", "think": "reasoning_content",
    "response": "content",
}  # fmt: skip
_FIELDS = {"question": "prompt", "think": "reasoning_content", "answer": "content"}  # in a template
_KNOWN = (  # the last one is Chinese-DeepSeek-R1-Distill-data-110k
    "prompt with reasoning_content and content, or completion; text; messages; conversations; "
    "instruction and output; input with reasoning_content and content"
)
_TAGS = {
    "role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt",
    "system_tag": "system",
}  # fmt: skip


def read_samples(
    path: str,
    *,
    columns: Mapping[str, str] | None = None,
    template: str | None = None,
    split: str | None = None,
    section: str = "data",
) -> Iterator[dict[str, Any]]:
    """Read samples one at a time: {"prompt", "reasoning_content", "content", ...other columns}.

    path: a file or `datasets` name, or "FOLDER" or "FOLDER#NAME" with a dataset_info.json. Samples
    and text are unchanged; in other formats, reasoning in tags is split from the reply, and the
    prompt becomes text, or chat messages if there are earlier turns. Rows with null values,
    unfinished reasoning or `kept: false` are skipped; their number is logged at the end.

    columns: our column -> the file's, for an unknown format; unmapped columns are dropped:
    {question: Question, cot: Complex_CoT, response: Response}. cot is optional.

    template: text with {question}, {think}, {answer} or any column of the sample, filled in as its
    `text`; {{name}} is a literal {name}. section: the recipe's key, for error messages.

    Raises ConfigError: unknown format, missing column, a placeholder without a value (each with
    file and row), or an error of read_rows.
    """
    num_rows, skipped = 0, []
    folder_name, _, name = path.partition("#")
    folder = Path(folder_name).expanduser()
    if (folder / INDEX_FILE).is_file():
        rows = _indexed_rows(folder, name or None, section=section)
    else:
        rows = read_rows(path, split=split, section=section)
    for row in rows:
        num_rows += 1
        try:
            sample = _mapped(row, columns, section) if columns else _recognized(row, section)
        except UnreadableRow as error:
            skipped.append(f"{row.where}: {error}")
            continue
        if template is not None:
            values = sample | {name: sample.get(column) for name, column in _FIELDS.items()}
            key = f"{section}.template"
            sample["text"] = fill_placeholders(template, values, where=row.where, key=key)
        yield sample
    if skipped:
        logger.warning("%s: skipped %d of %d rows; %s", path, len(skipped), num_rows, skipped[0])


def _indexed_rows(folder: Path, name: str | None, *, section: str) -> Iterator[Row]:
    """The records of one data set of a folder, renamed to the keys of their format."""
    index = folder / INDEX_FILE
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
    entry = entries[name]
    if "file_name" not in entry:
        raise ConfigError(f"{index}: {name}: only entries with a file_name are supported")
    rename = _sharegpt_record if entry.get("formatting") == "sharegpt" else _alpaca_record
    for row in read_rows(str(folder / entry["file_name"]), split=None, section=section):
        yield Row(number=row.number, where=row.where, values=rename(row.values, entry))


def _alpaca_record(record: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    defaults = FORMATS["alpaca"].dataset_info["columns"]
    columns = {**defaults, **entry.get("columns", {})}
    return {ours: record.get(columns[column]) for column, ours in defaults.items()}


def _sharegpt_record(record: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    columns, tags = entry.get("columns", {}), {**_TAGS, **entry.get("tags", {})}
    roles = {tags["user_tag"]: "human", tags["assistant_tag"]: "gpt", tags["system_tag"]: "system"}
    turns = [
        {
            "from": roles.get(role := message.get(tags["role_tag"]), role),
            "value": message.get(tags["content_tag"]),
        }
        for message in record.get(columns.get("messages", "conversations")) or []
    ]
    return {"conversations": turns, "system": record.get(columns.get("system", "system"))}


def _mapped(row: Row, columns: Mapping[str, str], section: str) -> dict[str, Any]:
    sample: dict[str, Any] = {"prompt": None, "reasoning_content": None, "content": None}
    for name, value in row.mapped(columns, section=section).items():
        if value is None:
            raise UnreadableRow(f"{columns[name]} is null")
        sample[_SYNONYMS.get(name, name)] = value
    return sample


def _recognized(row: Row, section: str) -> dict[str, Any]:
    values = dict(row.values)
    if "prompt" in values and ("content" in values or "completion" in values):
        return _kept(values)
    if {"input", "reasoning_content", "content"} <= values.keys():
        return _kept({"prompt": values.pop("input"), **values})
    for one in FORMATS.values():
        if one.keys <= values.keys():
            return one.read(values).row
    if "text" in values:
        return values
    found = ", ".join(map(repr, values)) or "none"
    raise ConfigError(
        f"{row.where}: unknown format; columns found: {found}; "
        f"known are {_KNOWN}; or map columns with {section}.columns"
    )


def _kept(sample: dict[str, Any]) -> dict[str, Any]:
    if sample.get("kept") is False:
        raise UnreadableRow(f"not kept: {sample.get('dropped_because')}")
    replies = (sample.get("completion"), sample.get("content"))
    if sample["prompt"] is None or replies == (None, None):
        raise UnreadableRow("prompt or content is null")
    return sample
