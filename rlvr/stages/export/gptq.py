"""A quantized copy by GPTQ (Frantar et al. 2022, arXiv 2210.17323).

Requires an NVIDIA GPU and the package gptqmodel, which is not a dependency of rlvr.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from rlvr.data.rows import read_rows
from rlvr.errors import ConfigError
from rlvr.stages.export.export_config import GptqSection

__all__ = ["check_gptq", "gptq_bytes", "quantize"]


def check_gptq() -> None:
    """Raise ConfigError where quantization cannot run."""
    if importlib.util.find_spec("gptqmodel") is None:
        raise ConfigError(
            "gptq: gptqmodel is not installed; `pip install gptqmodel` on a machine with an NVIDIA "
            "GPU, or leave gptq out"
        )
    if shutil.which("nvidia-smi") is None:
        raise ConfigError("gptq: requires an NVIDIA GPU, and this machine has none; leave gptq out")


def gptq_bytes(num_inputs: int, num_outputs: int, *, bits: int = 4, group_size: int = 128) -> int:
    """Return the size of one linear layer in a GPTQ file, in bytes.

    The file holds packed weights; a float16 scale and a packed zero per group and output; and the
    int32 number of its group per input.
    """
    groups = -(-num_inputs // group_size)
    weights = num_inputs * num_outputs * bits // 8
    scales = groups * num_outputs * 2
    zeros = groups * num_outputs * bits // 8
    return weights + scales + zeros + 4 * num_inputs


def quantize(model: Path, final: Path, section: GptqSection) -> dict[str, Any]:
    """Write the quantized copy and return its entry for the summary."""
    from gptqmodel import GPTQModel, QuantizeConfig  # type: ignore[import-not-found]

    rows = read_rows(
        section.calibration, split=f"[:{section.num_rows}]", section="gptq.calibration"
    )
    texts = [str(row.values.get("text") or row.values.get("prompt")) for row in rows]
    settings = QuantizeConfig(bits=section.bits, group_size=section.group_size)
    quantized = GPTQModel.load(str(model), settings)
    quantized.quantize(texts)
    quantized.save(str(final))
    return {"bits": section.bits, "group_size": section.group_size, "num_rows": len(texts)}
