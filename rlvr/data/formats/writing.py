"""Write samples in other projects' formats, with LLaMA-Factory's index and a recipe for it.

    rows, ["alpaca"] --> FOLDER/NAME_alpaca.json   dataset_info.json   NAME_sft.yaml

Text is unescaped UTF-8, and each file is written atomically.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from rlvr.data.formats.records import FORMATS, INDEX_FILE, Exchange
from rlvr.run.run_folder import write_json, write_text

__all__ = ["write_exports"]


def write_exports(
    folder: Path, rows: Sequence[Mapping[str, Any]], *, name: str, formats: Sequence[str]
) -> list[Path]:
    """Write rows of prompt, reasoning_content and content in each format; return the files.

    Raises RLVRError: a file cannot be written.
    """
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
