"""Is what a run needs installed, and does it fit together? One line on what is not, before actors
start.
"""

from __future__ import annotations

import importlib
import importlib.util

from rlvr.errors import ConfigError

__all__ = ["check_environment"]

NEEDED = ("torch", "vllm", "deepspeed", "ray", "transformers")
# Text models need none of these, but transformers and vLLM import them where they are found.
HARMFUL_WHEN_BROKEN = ("torchvision", "torchaudio", "torchcodec")


def check_environment() -> None:
    """Raises ConfigError: a package is missing, or one that nobody needs is broken and takes others
    down.
    """
    for package in NEEDED:
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"{package} is not installed; `make setup` installs all that a run needs"
            )
    for package in HARMFUL_WHEN_BROKEN:
        if importlib.util.find_spec(package) is not None:
            _check_import(package)


def _check_import(package: str) -> None:
    try:
        importlib.import_module(package)
    except (ImportError, OSError, RuntimeError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{package} is installed but cannot be imported beside this torch ({why}), and takes "
            f"transformers "
            f"and vLLM down with it; text models do not need it: `python -m pip uninstall "
            f"{package}`"
        ) from None
