"""Traces in the forms that others write and read: alpaca, sharegpt, messages, LLaMA-Factory's.

    file in any of these forms --read_samples--> {"prompt", "reasoning_content", "content", ...}
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

from rlvr.data.formats.exchanges import Exchange, join_thought, split_thought
from rlvr.data.formats.reading import read_samples
from rlvr.data.formats.records import FORMATS
from rlvr.data.formats.writing import write_exports
from rlvr.data.placeholders import fill_placeholders, find_placeholders

__all__ = [
    "FORMATS",
    "Exchange",
    "fill_placeholders",
    "find_placeholders",
    "join_thought",
    "read_samples",
    "split_thought",
    "write_exports",
]
