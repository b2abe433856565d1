"""Traces in the forms that others write and read: alpaca, sharegpt, messages, LLaMA-Factory's.

    file in any of these forms --read_traces--> {"prompt", "reasoning_content", "content", ...}
    such rows --write_exports--> NAME_alpaca.json  NAME_sharegpt.json  NAME_messages.json
                                 dataset_info.json  NAME_sft.yaml

Between both stands an `Exchange`: what was said before, what was asked, what was replied.

    exchanges      a trace row <-> an Exchange; a thought in its tags <-> apart
    records        an Exchange <-> one record of each form
    placeholders   text with {name} in it
    dataset_info   LLaMA-Factory's index of a folder
    reading, writing
"""

from __future__ import annotations

from rlvr.formats.exchanges import Exchange, join_thought, split_thought
from rlvr.formats.placeholders import fill_placeholders, find_placeholders
from rlvr.formats.reading import read_traces
from rlvr.formats.records import FORMATS
from rlvr.formats.writing import write_exports

__all__ = [
    "FORMATS",
    "Exchange",
    "fill_placeholders",
    "find_placeholders",
    "join_thought",
    "read_traces",
    "split_thought",
    "write_exports",
]
