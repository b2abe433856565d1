"""Read rows from a local file, a data set or a user's function.

Files are JSONL, JSON, CSV, text or parquet, all but parquet optionally gzipped. Anything unreadable
raises a ConfigError of one line that names the file and the row.
"""

from __future__ import annotations

import csv
import gzip
import importlib
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from rlvr.errors import ConfigError

__all__ = ["Row", "UnreadableRow", "load_function", "read_rows"]

SUFFIXES = (
    ".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz", ".txt", ".txt.gz", ".parquet",
)  # fmt: skip
FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+:[A-Za-z_]\w*")  # a hub name has a slash
SLICE = re.compile(r"(?P<name>[\w-]*)(?:\[(?P<start>-?\d+)?:(?P<stop>-?\d+)?\])?")


class UnreadableRow(ValueError):
    """The row has the required columns, but a value in them is unusable; the row is skipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One record: `Row(number=17, where="train.jsonl:17", values={"question": "..."})`."""

    number: int  # from 1: the line of a JSONL or text file, else the position of the row
    where: str
    values: Mapping[str, Any]

    def mapped(self, columns: Mapping[str, str], *, section: str) -> dict[str, Any]:
        """Return {name: value of its column}. Raises ConfigError: a missing column."""
        for name, column in columns.items():
            if column not in self.values:
                found = ", ".join(map(repr, self.values)) or "none"
                raise ConfigError(
                    f"{self.where}: no column {column!r} for {name}; columns found: {found}; "
                    f"set {section}.columns.{name}=COLUMN"
                )
        return {name: self.values[column] for name, column in columns.items()}


def read_rows(path: str, *, split: str | None, section: str = "tasks") -> Iterator[Row]:
    """Read the rows of a file, of a folder or name that `datasets` can load, or of a function.

    A text file has one prompt per line: {"prompt": line}. The first line of a CSV file names its
    columns. A data set name may include a configuration (`openai/gsm8k:main`). A function,
    `pkg.module:function`, is called with split=... and returns a finite iterable of mappings.

    split: passed to `datasets` as it is, "train" where it is None; for a file, a slice of rows
    ("[:7000]"), optionally after part of the file's name ("train[:7000]" of train.jsonl.gz).
    section: the recipe section of the path, for error messages.

    Raises ConfigError: missing file, unsupported format, unknown split, invalid JSON, a row that is
    not an object, a data set that cannot be loaded.
    """
    if FUNCTION.fullmatch(path):
        return _function_rows(path, split=split, section=section)
    if not _is_file_name(path):
        return _dataset_rows(path, split=split or "train", section=section)
    file, formats = Path(path).expanduser(), ", ".join(SUFFIXES)
    if not file.is_file():
        raise ConfigError(
            f"{section}.path: there is no file {path}; give a {formats} file or a datasets name"
        )
    if not file.name.endswith(SUFFIXES):
        raise ConfigError(f"{section}.path: {path} is not a {formats} file")
    bounds = _row_slice(file, split=split, section=section)
    rows = _file_rows(file)
    if min(bounds.start or 0, bounds.stop or 0) < 0:
        return iter(list(rows)[bounds])
    return islice(rows, bounds.start, bounds.stop)


def _is_file_name(path: str) -> bool:
    if Path(path).expanduser().is_dir():
        return False
    return path.endswith(SUFFIXES) or path.startswith(("/", ".", "~")) or Path(path).is_file()


def _row_slice(file: Path, *, split: str | None, section: str) -> slice:
    match = SLICE.fullmatch(split or "")
    if match is None:
        raise ConfigError(
            f"{section}.split: {split!r} is not a slice of rows such as '[:7000]' or '[-200:]'"
        )
    if match["name"] not in file.name:
        raise ConfigError(
            f"{section}.split: {file} is one file without a split {match['name']!r}; "
            "omit the split or give a slice of rows such as '[:7000]'"
        )
    return slice(*(int(bound) if bound else None for bound in (match["start"], match["stop"])))


def _function_rows(path: str, *, split: str | None, section: str) -> Iterator[Row]:
    function = load_function(path, key=f"{section}.path")
    for number, values in enumerate(function(split=split), start=1):
        yield Row(number=number, where=f"{path}:{number}", values=values)


def load_function(dotted: str, *, key: str) -> Callable[..., Any]:
    """Return the function at `dotted`; `key` is its place in the recipe, for error messages.

    An import error inside the user's module propagates with its traceback.

    Raises ConfigError: malformed path, missing module, missing or uncallable attribute.
    """
    module_name, _, function_name = dotted.partition(":")
    if not module_name or not function_name:
        raise ConfigError(f"{key}: {dotted!r} is not of the form pkg.module:function")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ConfigError(
            f"{key}: no module {error.name!r} for {dotted!r}; "
            "install it or add its folder to PYTHONPATH"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ConfigError(f"{key}: module {module_name!r} has no function {function_name!r}")
    return function


def _file_rows(file: Path) -> Iterator[Row]:
    number = 0
    try:
        for number, values in _RECORDS[file.name.removesuffix(".gz").rpartition(".")[2]](file):
            where = f"{file}:{number}"
            if not isinstance(values, dict):
                kind = type(values).__name__
                raise ConfigError(f"{where}: the row is a {kind}, not an object with named columns")
            yield Row(number=number, where=where, values=values)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{file}:{number + 1}: cannot be read: {error}") from error


def _open_text(file: Path, *, newline: str | None = None) -> IO[str]:
    # utf-8-sig: files saved on Windows may begin with a byte order mark
    if file.name.endswith(".gz"):
        return gzip.open(file, "rt", encoding="utf-8-sig", newline=newline)
    return file.open(encoding="utf-8-sig", newline=newline)


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    with _open_text(file) as lines:
        yield from ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def _json_records(file: Path) -> Iterator[tuple[int, Any]]:
    with _open_text(file) as stream:
        records = _parse(stream.read(), where=str(file))
    if not isinstance(records, list):
        raise ConfigError(f"{file}: is not a list of objects; for JSON lines use the suffix .jsonl")
    return enumerate(records, start=1)


def _csv_records(file: Path) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(1 << 30)  # the default is shorter than many completions
    with _open_text(file, newline="") as stream:
        for number, values in enumerate(csv.DictReader(stream, strict=True), start=1):
            if None in values or None in values.values():
                raise ConfigError(f"{file}:{number}: the row and the header differ in length")
            yield number, values


def _parquet_records(file: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

    try:
        with pq.ParquetFile(file) as parquet:
            batches = parquet.iter_batches()
            yield from enumerate((row for batch in batches for row in batch.to_pylist()), start=1)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{file}: not a parquet file that can be read: {reason}") from error


_RECORDS: dict[str, Callable[[Path], Iterator[tuple[int, Any]]]] = {
    "jsonl": lambda file: ((n, _parse(line, where=f"{file}:{n}")) for n, line in _lines(file)),
    "json": _json_records,
    "csv": _csv_records,
    "txt": lambda file: ((n, {"prompt": line.strip()}) for n, line in _lines(file)),
    "parquet": _parquet_records,
}


def _parse(text: str, *, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{where}:{error.lineno}" if error.lineno > 1 else where
        raise ConfigError(f"{where}: not JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:  # over 4,300 digits; endless brackets
        raise ConfigError(f"{where}: invalid JSON: {error}") from error


def _dataset_rows(path: str, *, split: str, section: str) -> Iterator[Row]:
    import datasets  # type: ignore[import-untyped, unused-ignore]

    name, _, configuration = path.partition(":")
    folder = Path(path).expanduser()
    try:
        if (folder / "dataset_dict.json").is_file():
            dataset = datasets.load_from_disk(str(folder))[split]
        elif (folder / "state.json").is_file():
            dataset = datasets.load_from_disk(str(folder))
        else:
            where = (str(folder),) if folder.is_dir() else (name, configuration or None)
            dataset = datasets.load_dataset(*where, split=split)
    except (datasets.exceptions.DatasetsError, ValueError, KeyError, OSError) as error:
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise ConfigError(
            f"{section}.path: datasets cannot load {path!r} (split {split!r}): "
            f"{type(error).__name__}: {reason}"
        ) from error
    for number, values in enumerate(dataset, start=1):
        yield Row(number=number, where=f"{path}[{split}]:{number}", values=values)
