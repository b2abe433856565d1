"""`read_samples`: rows of a file in any of the known forms, as trace rows."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlvr.data.formats.dataset_info import FILE_NAME, rows_of_folder
from rlvr.data.formats.exchanges import UnreadableRecord
from rlvr.data.formats.records import FORMATS, format_of
from rlvr.data.placeholders import fill_placeholders
from rlvr.data.rows import Row, read_rows
from rlvr.errors import ConfigError

__all__ = ["read_samples"]

logger = logging.getLogger(__name__)

# other names of a trace row's columns in `columns`, as data sets of thoughts call them
_SYNONYMS = {
    "question": "prompt", "cot": "reasoning_content", "think": "reasoning_content",
    "response": "content",
}  # fmt: skip
_KNOWN = "prompt with reasoning_content and content, or completion; text; messages; conversations; "
_KNOWN += "instruction and output; input with reasoning_content and content"


def read_samples(
    path: str,
    *,
    columns: Mapping[str, str] | None = None,
    template: str | None = None,
    split: str | None = None,
    section: str = "data",
) -> Iterator[dict[str, Any]]:
    """Trace rows, one at a time: {"prompt", "reasoning_content", "content", ...other columns}.

    path: a JSONL, JSON, CSV or parquet file, or a `datasets` name, whose rows have one of the forms

        prompt, with reasoning_content and content, or with completion    (our own: as they are)
        text                                                              (as they are)
        messages | conversations | instruction, input, output         (OpenAI, sharegpt, alpaca)
        input, reasoning_content, content               (Chinese-DeepSeek-R1-Distill-data-110k)

    or a folder with LLaMA-Factory's dataset_info.json: "FOLDER" or "FOLDER#NAME". Thoughts that
    stand in a reply in their tags are taken apart from it; a prompt is text, or chat messages where
    there is more before it.

    columns: our column -> the file's, for any other file, all others are left out: {question:
    Question, cot: Complex_CoT, response: Response}. question, cot and response are prompt,
    reasoning_content and content. A trace without a thought: leave cot out.

    template: text with {instruction}, {question}, {think}, {answer} or any column of the row; what
    it makes is the row's `text`, byte for byte. {{name}} stands for {name} itself.

    A row with null in it, whose thought never ends, or that its stage did not keep (kept: false) is
    left out; how many is logged at the end. section: the recipe's key, for messages.

    Raises ConfigError at the first row or at its own, naming file and row: a form that is not
    known, a column that is not there, a placeholder that the row has nothing for; and whatever
    read_rows raises.
    """
    num_rows, left_out = 0, []
    for row in _rows(path, split=split, section=section):
        num_rows += 1
        try:
            trace = _mapped(row, columns, section) if columns else _recognised(row, section)
        except UnreadableRecord as error:
            left_out.append(f"{row.where}: {error}")
            continue
        if template is not None:
            trace["text"] = _filled(template, trace, where=row.where, section=section)
        yield trace
    if left_out:
        logger.warning("%s: %d of %d rows left out; %s", path, len(left_out), num_rows, left_out[0])


def _rows(path: str, *, split: str | None, section: str) -> Iterator[Row]:
    folder, _, name = path.partition("#")
    if (Path(folder).expanduser() / FILE_NAME).is_file():
        return rows_of_folder(Path(folder).expanduser(), name or None, section=section)
    return read_rows(path, split=split, section=section)


def _mapped(row: Row, columns: Mapping[str, str], section: str) -> dict[str, Any]:
    trace: dict[str, Any] = {"prompt": None, "reasoning_content": None, "content": None}
    for name, column in columns.items():
        if column not in row.values:
            raise ConfigError(
                f"{row.where}: no column {column!r} for {name}; columns found: "
                f"{', '.join(map(repr, row.values)) or 'none'}; say which one it is with "
                f"{section}.columns.{name}=COLUMN"
            )
        if row.values[column] is None:
            raise UnreadableRecord(f"{column} is null")
        trace[_SYNONYMS.get(name, name)] = row.values[column]
    return trace


def _recognised(row: Row, section: str) -> dict[str, Any]:
    values = row.values
    if "prompt" in values and ("content" in values or "completion" in values):
        return _whole(dict(values))
    if {"input", "reasoning_content", "content"} <= values.keys():
        rest = {name: value for name, value in values.items() if name != "input"}
        return _whole({"prompt": values["input"], **rest})
    name = format_of(values)
    if name is not None:
        return FORMATS[name].read(values).row
    if "text" in values:
        return dict(values)
    found = ", ".join(map(repr, values)) or "none"
    raise ConfigError(
        f"{row.where}: is of no known form; columns found: {found}; "
        f"known are {_KNOWN}; or map columns with {section}.columns"
    )


def _whole(trace: dict[str, Any]) -> dict[str, Any]:
    if trace.get("kept") is False:
        raise UnreadableRecord(f"not kept: {trace.get('dropped_because')}")
    replies = (trace.get("completion"), trace.get("content"))
    if trace["prompt"] is None or replies == (None, None):
        raise UnreadableRecord("prompt or content is null")
    return trace


def _filled(template: str, trace: Mapping[str, Any], *, where: str, section: str) -> str:
    values = {
        **trace,
        "question": trace.get("prompt"),
        "think": trace.get("reasoning_content"),
        "answer": trace.get("content"),
    }
    return fill_placeholders(template, values, where=where, key=f"{section}.template")
