"""Convert samples from and to other projects' formats: alpaca, sharegpt, OpenAI messages.

file in any format --read_samples--> {"prompt", "reasoning_content", "content", ...}
such rows --write_exports--> NAME_alpaca.json  NAME_sharegpt.json  NAME_messages.json
                             dataset_info.json  NAME_sft.yaml        (for LLaMA-Factory)
"""

from __future__ import annotations

from rlvr.data.formats.reading import read_samples
from rlvr.data.formats.records import FORMATS, join_reply, split_reply, write_exports

__all__ = ["FORMATS", "join_reply", "read_samples", "split_reply", "write_exports"]
