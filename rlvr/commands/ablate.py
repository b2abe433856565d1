"""`rlvr ablate`: base, pure RL, SFT, and SFT then RL, from one base and with one evaluation."""

from __future__ import annotations

from collections.abc import Sequence

from rlvr.commands.r1 import run_chain
from rlvr.config import AblateConfig, load_config

__all__ = ["run"]


def run(recipe: str, overrides: Sequence[str]) -> int:
    """Exit status; raises RLVRError."""
    return run_chain(load_config(AblateConfig, recipe, overrides))
