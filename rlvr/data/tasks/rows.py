"""Rows of a local file (JSONL, JSON, CSV, text, parquet; .gz too) or of a `datasets` name, with
their places.

Everything that can be wrong with a file is a ConfigError of one line with file and row number.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from rlvr.data.tasks.dotted import load_function
from rlvr.errors import ConfigError

__all__ = ["Row", "read_rows"]

SUFFIXES = (
    ".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz", ".txt", ".txt.gz", ".parquet",
)  # fmt: skip
FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+:[A-Za-z_]\w*")  # a hub name has a slash
SLICE = re.compile(r"(?P<name>[\w-]*)(?:\[(?P<start>-?\d+)?:(?P<stop>-?\d+)?\])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One record: `Row(number=17, where="train.jsonl:17", values={"question": "..."})`."""

    number: int  # from 1: the line in a JSONL or text file, the place among the rows elsewhere
    where: str
    values: Mapping[str, Any]


def read_rows(path: str, *, split: str | None, section: str = "tasks") -> Iterator[Row]:
    """The rows of a file, of a folder or name that `datasets` can load, or of a function.

    `pkg.module:function` is called with split=...; it gives mappings, and comes to an end.
    A text file has one prompt a line: {"prompt": line}. A CSV file's first line names its columns.
    A name may hold a configuration (`openai/gsm8k:main`). `split` goes to `datasets` as it is
    ("train" where it is None); of a file it may be a slice of rows ("[:7000]"), after a name that
    is part of the file's own ("train[:7000]" of train.jsonl.gz).

    Raises ConfigError (file:row where there is one): no such file, another format, an
    unknown split, text that is not JSON, a row that is not an object, a data set that cannot be
    loaded.
    """
    if FUNCTION.fullmatch(path):
        return _rows_of_function(path, split=split, section=section)
    if not _is_file_name(path):
        return _dataset_rows(path, split=split or "train", section=section)
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(
            f"{section}.path: there is no file {path}; give a {_formats()} file or a datasets name"
        )
    if not file.name.endswith(SUFFIXES):
        raise ConfigError(f"{section}.path: {path} is not a {_formats()} file")
    part = _slice_of_file(file, split=split, section=section)
    rows = _file_rows(file)
    has_negative = any(bound is not None and bound < 0 for bound in (part.start, part.stop))
    return iter(list(rows)[part]) if has_negative else islice(rows, part.start, part.stop)


def _rows_of_function(path: str, *, split: str | None, section: str) -> Iterator[Row]:
    make = load_function(path, key=f"{section}.path")
    for number, values in enumerate(make(split=split), start=1):
        yield Row(number=number, where=f"{path}:{number}", values=values)


def _formats() -> str:
    return ", ".join(SUFFIXES)


def _is_file_name(path: str) -> bool:
    if Path(path).expanduser().is_dir():
        return False
    return path.endswith(SUFFIXES) or path.startswith(("/", ".", "~")) or Path(path).is_file()


def _slice_of_file(file: Path, *, split: str | None, section: str) -> slice:
    match = SLICE.fullmatch(split or "")
    if match is None:
        raise ConfigError(
            f"{section}.split: {split!r} is not a slice of rows such as '[:7000]' or '[-200:]'"
        )
    if match["name"] not in file.name:
        raise ConfigError(
            f"{section}.split: {file} is one file without a split {match['name']!r}; "
            "leave the split out or give a slice of rows such as '[:7000]'"
        )
    return slice(*(int(bound) if bound else None for bound in (match["start"], match["stop"])))


def _file_rows(file: Path) -> Iterator[Row]:
    if file.name.endswith(".parquet"):
        return _parquet_rows(file)
    if file.name.endswith((".jsonl", ".jsonl.gz")):
        return _jsonl_rows(file)
    if file.name.endswith((".csv", ".csv.gz")):
        return _csv_rows(file)
    if file.name.endswith((".txt", ".txt.gz")):
        return _text_rows(file)
    return _json_rows(file)


def _open_text(file: Path, *, newline: str | None = None) -> IO[str]:
    # utf-8-sig: files saved on Windows may begin with a byte order mark
    opener: Any = gzip.open if file.name.endswith(".gz") else open
    stream: IO[str] = opener(file, "rt", encoding="utf-8-sig", newline=newline)
    return stream


def _jsonl_rows(file: Path) -> Iterator[Row]:
    number = 0
    try:
        with _open_text(file) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _row(file, number=number, values=_parse(line, where=f"{file}:{number}"))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}:{number + 1}: cannot be read: {error}") from error


def _text_rows(file: Path) -> Iterator[Row]:
    number = 0
    try:
        with _open_text(file) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _row(file, number=number, values={"prompt": line.strip()})
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}:{number + 1}: cannot be read: {error}") from error


def _csv_rows(file: Path) -> Iterator[Row]:
    number = 0
    csv.field_size_limit(1 << 30)  # its default is shorter than many thoughts
    try:
        with _open_text(file, newline="") as stream:
            for number, values in enumerate(csv.DictReader(stream, strict=True), start=1):
                if None in values or None in values.values():
                    raise ConfigError(
                        f"{file}:{number}: the row has not as many values as the first line names"
                    )
                yield _row(file, number=number, values=values)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{file}:{number + 1}: cannot be read: {error}") from error


def _json_rows(file: Path) -> Iterator[Row]:
    try:
        with _open_text(file) as stream:
            text = stream.read()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from error
    records = _parse(text, where=str(file))
    if not isinstance(records, list):
        raise ConfigError(f"{file}: is not a list of objects; for one object a line name it .jsonl")
    for number, record in enumerate(records, start=1):
        yield _row(file, number=number, values=record)


def _parse(text: str, *, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{where}:{error.lineno}" if error.lineno > 1 else where
        raise ConfigError(f"{where}: not JSON: {error.msg} at column {error.colno}") from error
    except (
        ValueError,
        RecursionError,
    ) as error:  # an integer of over 4,300 digits; brackets without end
        raise ConfigError(f"{where}: not JSON that can be read: {error}") from error


def _row(file: Path, *, number: int, values: Any) -> Row:
    where = f"{file}:{number}"
    if not isinstance(values, dict):
        kind = type(values).__name__
        raise ConfigError(f"{where}: the row is a {kind}, not an object with named columns")
    return Row(number=number, where=where, values=values)


def _parquet_rows(file: Path) -> Iterator[Row]:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

    number = 0
    try:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches():
                for values in batch.to_pylist():
                    number += 1
                    yield _row(file, number=number, values=values)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{file}: not a parquet file that can be read: {reason}") from error


def _dataset_rows(path: str, *, split: str, section: str) -> Iterator[Row]:
    dataset = _load_dataset(path, split=split, section=section)
    for number, values in enumerate(dataset, start=1):
        yield Row(number=number, where=f"{path}[{split}]:{number}", values=values)


def _load_dataset(path: str, *, split: str, section: str) -> Any:
    import datasets  # type: ignore[import-untyped, unused-ignore]

    name, _, configuration = path.partition(":")
    folder = Path(path).expanduser()
    try:
        if (folder / "dataset_dict.json").is_file():
            return datasets.load_from_disk(str(folder))[split]
        if (folder / "state.json").is_file():
            return datasets.load_from_disk(str(folder))
        if folder.is_dir():
            return datasets.load_dataset(str(folder), split=split)
        return datasets.load_dataset(name, configuration or None, split=split)
    except (datasets.exceptions.DatasetsError, ValueError, KeyError, OSError) as error:
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise ConfigError(
            f"{section}.path: datasets cannot load {path!r} (split {split!r}): "
            f"{type(error).__name__}: {reason}"
        ) from error
