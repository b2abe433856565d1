"""A 4-bit copy by GPTQ: the call, and how small it gets.

Needs a GPU and the package gptqmodel; neither comes along.
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
    """Raises ConfigError where it cannot run."""
    if importlib.util.find_spec("gptqmodel") is None:
        raise ConfigError(
            "gptq: gptqmodel is not installed; `pip install gptqmodel` on a machine with an NVIDIA "
            "GPU, or leave gptq out"
        )
    if shutil.which("nvidia-smi") is None:
        raise ConfigError("gptq: needs an NVIDIA GPU, and there is none here; leave gptq out")


def gptq_bytes(num_inputs: int, num_outputs: int, *, bits: int = 4, group_size: int = 128) -> int:
    """Of one linear layer as GPTQ files hold it.

    Packed weights; for each group and output a float16 scale and a packed zero; for each input the
    int32 number of its group.
    """
    groups = -(-num_inputs // group_size)
    weights = num_inputs * num_outputs * bits // 8
    scales = groups * num_outputs * 2
    zeros = groups * num_outputs * bits // 8
    return weights + scales + zeros + 4 * num_inputs


def quantize(model: Path, final: Path, section: GptqSection) -> dict[str, Any]:
    """Write the quantized copy; returns what the summary says."""
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
